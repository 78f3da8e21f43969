"""The main chart of an incident: fetched beside the page, which never waits long for metrics."""

from collections.abc import Callable
from datetime import datetime, timedelta

from quell.gateway.chart_fetch import PATIENCE, ChartFetches
from quell.gateway.deps import ChartData
from quell.gateway.view import IncidentView
from quell.incidents.chart import signal_chart
from quell.incidents.incident import Incident
from quell.incidents.mitigation import MitigationState


class MainChart:
    """Draws an incident's chart from whatever the metrics have answered by now."""

    def __init__(self, series_for: Callable[[Incident], ChartData | None], patience: timedelta = PATIENCE) -> None:
        self._series_for = series_for
        self._fetches = ChartFetches(patience)

    def draw(self, view: IncidentView, now: datetime) -> tuple[str, str]:
        """The chart as SVG and "", or "" and why there is none."""
        incident = view.incident
        self._fetches.ask(incident.id, lambda: self._series_for(incident), now)
        data, problem = self._fetches.wait_for(incident.id)
        return (draw_chart(data, view), "") if data else ("", problem)


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
