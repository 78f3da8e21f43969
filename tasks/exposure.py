"""What a step has exposed: how many requests the canary was given, of all that were served since it was opened."""

from quell.actuator import RequestCounts
from quell.incidents.errors import QuellError
from tasks.canary_counts import Counter
from tasks.lane import Lane


class Exposure:
    """Counted at the load balancer itself where it can tell; else by the metrics, which lag behind."""

    def __init__(self, lane: Lane, counter: Counter) -> None:
        self._lane, self._counter = lane, counter
        self._first = self._last = self._counted()

    def read(self) -> tuple[int, int]:
        """Requests of the canary, and of all; the last that were seen, where the load balancer does not answer."""
        now = self._counted()
        if now is None or self._first is None or self._last is None:
            return self._counter.exposed, self._counter.served
        if now[1] < self._last[1]:  # its counters were reset by a reload: what was counted before stays counted
            self._first = (now[0] - self._last[0] + self._first[0], now[1] - self._last[1] + self._first[1])
        self._last = now
        return now[0] - self._first[0], now[1] - self._first[1]

    def _counted(self) -> tuple[int, int] | None:
        lane = self._lane
        if not isinstance(lane.actuator, RequestCounts):
            return None
        try:
            found = lane.actuator.counted((*lane.counted, *lane.counted_beside))
        except QuellError:
            return None
        return sum(found[name] for name in lane.counted), sum(found.values())
