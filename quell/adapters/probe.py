"""A probe: one request straight to an instance, past the load balancer."""

import time
from datetime import timedelta
from urllib.parse import urlsplit

import httpx

from quell.response.false_isolation import Probe

_LOCAL = ("127.0.0.1", "localhost", "::1")


def probe(url: str, *, timeout: timedelta = timedelta(seconds=1)) -> Probe:
    """GET the address once. An answer below 500 within the timeout is well; everything else is not, and says why."""
    began = time.perf_counter()
    try:
        answer = httpx.get(url, timeout=timeout.total_seconds(), trust_env=urlsplit(url).hostname not in _LOCAL)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Probe(seconds=time.perf_counter() - began, trouble=f"{type(error).__name__}: {error}".rstrip(": "))
    seconds = time.perf_counter() - began
    return Probe(seconds=seconds, trouble=f"status {answer.status_code}" if answer.status_code >= 500 else "")
