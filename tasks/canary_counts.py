"""What a canary and its control served since the step began, as the load balancer counts and logs it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quell.actuator import RequestLog
from quell.incidents.errors import QuellError
from quell.resolution.policy import CanaryPolicy
from quell.resolution.sample import Sample
from tasks.lane import Lane
from tasks.resources import Resources

# HAProxy's own exporter: what each server answered, by class of status
RESPONSES = "haproxy_server_http_responses_total"
_ERROR_CODE = "5xx"
_ANSWER_CODES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")

Counts = Mapping[tuple[str, str], float]  # (server, code) -> answers since HAProxy started


class Counter:
    """Counts from the first reading on; a counter that falls was reset by a reload.

    Single requests come from the load balancer's log and saturation from a query, where the policy names them.
    """

    def __init__(self, res: Resources, lane: Lane, policy: CanaryPolicy) -> None:
        self._res, self._lane, self._policy = res, lane, policy
        self._first: Counts | None = None
        self._last: Counts | None = None
        self._seen: set[str] | None = None  # what the log held at the last reading
        self._latencies: tuple[list[float], list[float]] = ([], [])  # of the canary, of its control
        self._saturation: tuple[list[float], list[float]] = ([], [])

    def read(self) -> bool:
        """Read all of it; whether there is anything to compare with now."""
        self._read_log()
        self._read_saturation()
        counts = _read(self._res, self._lane)
        if counts is None:
            return False
        if self._first is None:
            self._first = counts
            return False
        self._last = counts
        return True

    def samples(self) -> tuple[Sample, Sample]:
        """Of the canary and of its control: errors of all siblings, latencies and saturation of the one of its size.

        A request fails or not however busy the server is, and at one percent a control of the canary's size would have
        a handful of requests: four failures of four beside none of four prove nothing, beside none of 400 they do.
        """
        sides = self._sample((self._lane.server,)), self._sample(self._lane.peers)
        canary, control = (
            replace(side, latencies=tuple(latencies), saturation=tuple(saturation))
            for side, latencies, saturation in zip(sides, self._latencies, self._saturation, strict=True)
        )
        return canary, control

    @property
    def exposed(self) -> int:
        return self._sample((self._lane.server,)).requests

    @property
    def served(self) -> int:
        return self._sample((self._lane.server, *self._lane.peers)).requests

    def _read_log(self) -> None:
        """Take what has come into the log since the last reading; what was in it at the first does not count."""
        actuator = self._lane.actuator
        if not self._policy.request_log or not isinstance(actuator, RequestLog):
            return
        try:
            held = actuator.served(self._policy.request_log)
        except QuellError:
            return  # no requests, no verdict: the judge says that they are missing
        for request in held if self._seen is not None else ():
            if request.id in (self._seen or ()):
                continue
            if request.server == self._lane.server:
                self._latencies[0].append(request.seconds)
            elif request.server in self._lane.control:
                self._latencies[1].append(request.seconds)
        self._seen = {request.id for request in held}

    def _read_saturation(self) -> None:
        """One value a side; a reading in which one of them has none is left out."""
        if not self._policy.saturation:
            return
        sides = [[self._saturation_of(s) for s in servers] for servers in ((self._lane.server,), self._lane.control)]
        if not any(value is None for side in sides for value in side):
            for kept, side in zip(self._saturation, sides, strict=True):
                kept.append(float(np.mean([value for value in side if value is not None])))

    def _saturation_of(self, server: str) -> float | None:
        found = [i for s in self._res.config.catalog.services.values() for i in s.instances if i.server == server]
        try:
            matrix = self._res.metrics.instant(self._policy.saturation.replace("{instance}", found[0].name))
        except QuellError:
            return None
        if not len(matrix.timestamps) or not matrix.values.shape[1] or not np.isfinite(matrix.values[-1][0]):
            return None
        return float(matrix.values[-1][0])

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
