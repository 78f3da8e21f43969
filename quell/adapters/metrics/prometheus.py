"""Prometheus, or any server with its query API (VictoriaMetrics, Thanos, Mimir), as a metric source."""

import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import msgspec
import numpy as np

from quell.adapters.metrics.answer import (
    Answer,
    decode_answer,
    decode_names,
    join_in_time,
    matrix_of_instant,
    matrix_on_grid,
)
from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.series import FloatArray, SeriesMatrix

log = logging.getLogger(__name__)

MAX_POINTS = 11_000  # a range with more steps is refused by Prometheus ("exceeded maximum resolution")
RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
_TOO_MANY_SAMPLES = "too many samples"  # query.max-samples: a shorter range may pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    status: int
    reason: str
    content: bytes


class PrometheusSource:
    """Answers queries from a Prometheus server.

    Ranges longer than the server's 11,000 points are asked in parts and joined. Connection errors, 429 and 5xx are
    tried again with growing, jittered pauses; what the server says about a bad query is passed on word for word.
    Safe to share between threads.
    """

    def __init__(self, url: str, timeout: timedelta = timedelta(seconds=10), *, attempts: int = 3) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._timeout = timeout
        local = _is_loopback(self.url)
        # Compression costs 1.5 to 3.8 times the server's time and buys nothing on the same machine.
        headers = {"Accept-Encoding": "identity"} if local else {}
        self._client = httpx.Client(timeout=timeout.total_seconds(), headers=headers, trust_env=not local)

    def close(self) -> None:
        self._client.close()

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        """Series on the grid start, start+step, ... <= end; NaN where there is no sample."""
        seconds = step.total_seconds()
        if seconds <= 0:
            raise InvalidInput(f"step of query {query!r} is {seconds} s, it must be above 0")
        first = start.timestamp()
        points = int(np.floor((end.timestamp() - first) / seconds + 1e-6)) + 1
        if points < 1:
            raise InvalidInput(f"range of query {query!r} ends at {end.isoformat()}, before it starts")
        # Whole milliseconds, the server's own resolution, so that each part's grid continues the one before.
        grid = np.round(first + np.arange(points, dtype=np.float64) * seconds, 3).astype(np.float64)
        parts = [self._part(query, grid[i : i + MAX_POINTS], seconds) for i in range(0, points, MAX_POINTS)]
        return join_in_time(parts)

    def _part(self, query: str, grid: FloatArray, step: float) -> SeriesMatrix:
        data = {"query": query, "start": f"{grid[0]:.3f}", "end": f"{grid[-1]:.3f}", "step": f"{step:g}"}
        try:
            return matrix_on_grid(self._ask("query_range", data, query), grid)
        except msgspec.DecodeError as error:
            raise Unavailable(f"prometheus at {self.url} answered {query!r} with no matrix: {error}") from error
        except InvalidInput as refusal:
            if _TOO_MANY_SAMPLES not in str(refusal) or len(grid) < 2:
                raise
        middle = len(grid) // 2
        return join_in_time([self._part(query, half, step) for half in (grid[:middle], grid[middle:])])

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        """The last value of each series (T = 1), now or at a moment."""
        moment = (at or datetime.now(UTC)).timestamp()
        answer = self._ask("query", {"query": query, "time": f"{moment:.3f}"}, query)
        return matrix_of_instant(answer, moment)

    def metric_names(self) -> frozenset[str]:
        """Every metric that the server knows now; for checks of a configuration."""
        response = self._send("GET", "label/__name__/values", None)
        if response.status >= 300:
            raise self._unusable(response)
        try:
            return frozenset(decode_names(response.content))
        except msgspec.DecodeError as error:
            raise self._unusable(response) from error

    def _ask(self, endpoint: str, data: dict[str, str], query: str) -> Answer:
        response = self._send("POST", endpoint, data)
        try:
            answer = decode_answer(response.content)
        except msgspec.DecodeError as error:
            raise self._unusable(response) from error
        for warning in answer.warnings:
            log.warning("prometheus at %s answered %r in part: %s", self.url, query, warning)
        if answer.status == "success":
            return answer
        if response.status in RETRIED_STATUS:
            raise self._unusable(response, answer.error)
        raise InvalidInput(f"query {query!r} is refused by Prometheus at {self.url}: {answer.error}")

    def _send(self, method: str, endpoint: str, data: dict[str, str] | None) -> "_Reply":
        """The answer that is not worth another attempt; raises Unavailable when no attempt got one."""
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                response = self._fetch(method, f"{self.url}/api/v1/{endpoint}", data)
                if last or response.status not in RETRIED_STATUS:
                    return response
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if last or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
                    raise self._unreachable(error) from error
            time.sleep(_pause(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fetch(self, method: str, url: str, data: dict[str, str] | None) -> "_Reply":
        """The whole answer within the timeout: httpx limits each read, and a server that drips would never end."""
        limit = self._timeout.total_seconds()
        deadline = time.monotonic() + limit
        parts: list[bytes] = []
        with self._client.stream(method, url, data=data) as response:
            for part in response.iter_bytes():
                parts.append(part)
                if time.monotonic() > deadline:
                    said = f"only {sum(map(len, parts))} bytes came within {limit:g} s"
                    raise httpx.ReadTimeout(said, request=response.request)
            return _Reply(status=response.status_code, reason=response.reason_phrase, content=b"".join(parts))

    def _unreachable(self, error: Exception) -> Unavailable:
        what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
        said = str(error) or type(error).__name__
        return Unavailable(
            f"prometheus at {self.url} {what} ({said}) after {self._attempts} attempts: check that it runs and that "
            "prometheus under [connections] in quell.toml is its address"
        )

    def _unusable(self, response: "_Reply", said: str = "") -> QuellError:
        text = said or response.content[:120].decode(errors="replace").strip() or response.reason
        advice = "try again later" if response.status in RETRIED_STATUS else "is this a Prometheus query API?"
        return Unavailable(f"prometheus at {self.url} answered {response.status} ({text}): {advice}")


def _pause(attempt: int) -> float:
    """Exponential, with full jitter, so that many workers do not come back at the same moment."""
    ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return random.uniform(ceiling / 2, ceiling)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
