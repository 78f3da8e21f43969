"""Probes: instances asked directly by HTTP, past the load balancer, to tell a healthy one from a sick one."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from quell.incidents.probe import Answered

_TIMEOUT = timedelta(seconds=1)
_MOST_AT_ONCE = 8
_MOST_BYTES = 65536
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HttpProber:
    """GET, without following redirects; whoever does not answer within `timeout` counts as not answering.

    Each probe is a connection of its own, so that a refused one shows.
    """

    def __init__(self, timeout: timedelta = _TIMEOUT) -> None:
        self._timeout = timeout.total_seconds()

    def probe(self, urls: Sequence[str]) -> Mapping[str, Answered]:
        wanted = list(dict.fromkeys(urls))
        if not wanted:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(wanted), _MOST_AT_ONCE), thread_name_prefix="probe") as pool:
            return dict(zip(wanted, pool.map(self._ask, wanted), strict=True))

    def _ask(self, url: str) -> Answered:
        began = time.perf_counter()
        try:
            trust_env = urlsplit(url).hostname not in _LOOPBACK  # no proxy to ourselves
            with (
                httpx.Client(timeout=self._timeout, trust_env=trust_env, verify=url.startswith("https")) as client,
                client.stream("GET", url, headers={"User-Agent": "quell-probe", "Connection": "close"}) as answer,
            ):
                self._read(answer, began)
                return Answered(status=answer.status_code, seconds=time.perf_counter() - began)
        except httpx.TimeoutException:
            return Answered(error=f"no answer within {self._timeout:g} s", seconds=time.perf_counter() - began)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return Answered(error=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - began)

    def _read(self, answer: httpx.Response, began: float) -> None:
        """The body counts too, but a slow or endless one is not waited for."""
        size = 0
        for part in answer.iter_bytes():
            size += len(part)
            if time.perf_counter() - began > self._timeout:
                raise httpx.ReadTimeout("the body came too slowly")
            if size > _MOST_BYTES:
                return
