"""What a canary and its control served since the step began, as the load balancer counts it."""

from collections.abc import Mapping

import numpy as np

from quell.incidents.errors import QuellError
from quell.resolution.sample import Sample
from tasks.lane import Lane
from tasks.resources import Resources

# HAProxy's own exporter: what each server answered, by class of status
RESPONSES = "haproxy_server_http_responses_total"
_ERROR_CODE = "5xx"
_ANSWER_CODES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")

Counts = Mapping[tuple[str, str], float]  # (server, code) -> answers since HAProxy started


class Counter:
    """Counts from the first reading on; a counter that falls was reset by a reload."""

    def __init__(self, res: Resources, lane: Lane) -> None:
        self._res, self._lane = res, lane
        self._first: Counts | None = None
        self._last: Counts | None = None

    def read(self) -> bool:
        """Read the counters; whether there is anything to compare with now."""
        counts = _read(self._res, self._lane)
        if counts is None:
            return False
        if self._first is None:
            self._first = counts
            return False
        self._last = counts
        return True

    def samples(self) -> tuple[Sample, Sample]:
        """Of the canary and of its control."""
        return self._sample((self._lane.server,)), self._sample(self._lane.control)

    @property
    def exposed(self) -> int:
        return self._sample((self._lane.server,)).requests

    @property
    def served(self) -> int:
        return self._sample((self._lane.server, *self._lane.peers)).requests

    def _sample(self, servers: tuple[str, ...]) -> Sample:
        total = sum(self._grown(server, code) for server in servers for code in _ANSWER_CODES)
        return Sample(requests=total, errors=sum(self._grown(server, _ERROR_CODE) for server in servers))

    def _grown(self, server: str, code: str) -> int:
        if self._first is None or self._last is None:
            return 0
        before, now = self._first.get((server, code), 0.0), self._last.get((server, code), 0.0)
        return round(now - before if now >= before else now)


def _read(res: Resources, lane: Lane) -> Counts | None:
    """The counters of the backend's servers; None when they cannot be read now."""
    try:
        matrix = res.metrics.instant(f'{RESPONSES}{{proxy="{lane.backend}"}}')
    except QuellError:
        return None
    if not len(matrix.timestamps):
        return None
    counts: dict[tuple[str, str], float] = {}
    for labels, value in zip(matrix.labels, matrix.values[-1], strict=True):
        if np.isfinite(value):
            counts[f"{lane.backend}/{labels.get('server', '')}", labels.get("code", "")] = float(value)
    return counts or None
