"""The chart beside a question: how the users' signal went until now, for whoever approves or refuses."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from quell.gateway.chart_fetch import PATIENCE, ChartFetches
from quell.gateway.deps import ChartData
from quell.gateway.main_chart import draw_chart
from quell.gateway.view import IncidentView
from quell.incidents.mitigation import Mitigation, Plan


class QuestionChart:
    """Asked for before the page waits for anything, so that two charts cost no more patience than one."""

    def __init__(self, users_signal: Callable[[Plan], ChartData | None], patience: timedelta = PATIENCE) -> None:
        self._users_signal = users_signal
        self._fetches = ChartFetches(patience)

    def ask(self, view: IncidentView, now: datetime) -> None:
        for mitigation in _asked_about(view):
            self._fetches.ask(mitigation.id, lambda one=mitigation: self._users_signal(one.plan), now)

    def draw(self, view: IncidentView) -> Mapping[str, str]:
        """Mitigation -> SVG, for those that wait for a person; without those of which nothing is known."""
        found = {one.id: self._fetches.wait_for(one.id)[0] for one in _asked_about(view)}
        return {id: draw_chart(data, view) for id, data in found.items() if data is not None}


def _asked_about(view: IncidentView) -> list[Mitigation]:
    return [m.mitigation for m in view.mitigations if m.is_pending and m.mitigation.plan.needs_approval]
