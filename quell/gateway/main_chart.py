"""The main chart of an incident: fetched beside the page, which never waits long for metrics."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from quell.gateway.deps import ChartData
from quell.gateway.view import IncidentView
from quell.incidents.chart import signal_chart
from quell.incidents.errors import QuellError
from quell.incidents.incident import Incident
from quell.incidents.mitigation import MitigationState

PATIENCE = timedelta(seconds=1)  # how long a page waits
FRESH_FOR = timedelta(seconds=3)  # one fetch serves everybody who looks at the same incident
MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class _Fetch:
    asked_at: datetime
    data: "Future[ChartData | None]"


class MainChart:
    """Draws an incident's chart from whatever the metrics have answered by now."""

    def __init__(self, series_for: Callable[[Incident], ChartData | None], patience: timedelta = PATIENCE) -> None:
        self._series_for = series_for
        self._patience = patience
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="chart")
        self._fetches: dict[str, _Fetch] = {}
        self._lock = Lock()

    def draw(self, view: IncidentView, now: datetime) -> tuple[str, str]:
        """The chart as SVG and "", or "" and why there is none."""
        fetch = self._ask(view.incident, now)
        try:
            data = fetch.data.result(self._patience.total_seconds())
        except NotYet:
            return (
                "",
                f"the metrics have not answered within {self._patience.total_seconds():g} s; it appears when they do",
            )
        except QuellError as error:
            return "", str(error)
        if data is None or not len(data.timestamps):
            return "", "no series is known for this incident"
        return draw_chart(data, view), ""

    def _ask(self, incident: Incident, now: datetime) -> _Fetch:
        with self._lock:
            known = self._fetches.get(incident.id)
            if known and (not known.data.done() or now - known.asked_at < FRESH_FOR):
                return known
            while len(self._fetches) >= MOST_KEPT:
                self._fetches.pop(next(iter(self._fetches)))
            fetch = self._fetches[incident.id] = _Fetch(now, self._pool.submit(self._series_for, incident))
            return fetch


def draw_chart(data: ChartData, view: IncidentView) -> str:
    """The signal with its band, the onset, the changes and what was done about it."""
    events = [(view.incident.onset_at, "onset")]
    events += [(change.at, f"change {(change.commit or change.id)[:7]}") for change in view.changes[:2]]
    for mitigation in (m.mitigation for m in view.mitigations):
        events += [(mitigation.applied_at, "applied")] if mitigation.applied_at else []
        is_undone = mitigation.state is MitigationState.UNDONE and mitigation.applied_at
        events += [(mitigation.ended_at, "undone")] if is_undone and mitigation.ended_at else []
    events += [(view.incident.resolved_at, "resolved")] if view.incident.resolved_at else []
    first, last = data.timestamps[0], data.timestamps[-1]
    return signal_chart(
        title=data.title,
        unit=data.unit,
        timestamps=data.timestamps,
        values=data.values,
        lower=data.lower,
        upper=data.upper,
        events=sorted(event for event in events if first <= event[0].timestamp() <= last),
    )
