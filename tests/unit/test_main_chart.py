"""A page shows the chart when the metrics answer, says so when they do not, and never waits long."""

import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quell.gateway.alert_groups import AlertGroups
from quell.gateway.chart_fetch import FRESH_FOR
from quell.gateway.deps import ChartData
from quell.gateway.main_chart import MainChart
from quell.gateway.view import IncidentView
from quell.incidents.errors import Unavailable
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity, incident_times

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
INCIDENT = Incident(
    id=IncidentId("INC-1"),
    state=IncidentState.TRIAGED,
    severity=Severity.MAJOR,
    title="",
    service="checkout",
    onset_at=NOW,
    opened_at=NOW,
    updated_at=NOW,
    opened_because="",
    opened_by="test",
)
VIEW = IncidentView(
    incident=INCIDENT,
    times=incident_times(INCIDENT),
    alerts=AlertGroups(groups=(), alerts=()),
    changes=(),
    reports=(),
    mitigations=(),
    fixes=(),
    fix_questions={},
    fix_decisions={},
    review=None,
    notifications=(),
    others=(),
    report_count=0,
    timeline=(),
    version=0,
)
DATA = ChartData(
    title="errors", unit="ratio", timestamps=NOW.timestamp() + np.arange(-3.0, 3), values=np.array([0, 0, 0, 1.0, 1, 1])
)


def test_slow_metrics_cost_the_page_its_patience_and_the_chart_appears_later() -> None:
    answer = threading.Event()

    def series_for(_incident: Incident) -> ChartData:
        answer.wait(10)
        return DATA

    chart = MainChart(series_for, patience=timedelta(milliseconds=50))
    started = time.monotonic()
    assert chart.draw(VIEW, NOW)[1].startswith("the metrics have not answered within 0.05 s")
    assert time.monotonic() - started < 2
    answer.set()
    deadline = time.monotonic() + 5
    while not chart.draw(VIEW, NOW)[0] and time.monotonic() < deadline:
        pass
    assert "onset" in chart.draw(VIEW, NOW)[0]


def test_unreachable_metrics_are_said_in_words() -> None:
    def series_for(_incident: Incident) -> ChartData:
        raise Unavailable("prometheus cannot be reached: check that it runs")

    assert MainChart(series_for).draw(VIEW, NOW) == ("", "prometheus cannot be reached: check that it runs")


def test_all_who_look_at_once_share_one_fetch() -> None:
    asked: list[str] = []

    def series_for(incident: Incident) -> None:
        asked.append(incident.id)

    chart = MainChart(series_for)
    for _ in range(5):
        assert chart.draw(VIEW, NOW) == ("", "no series is known for this incident")
    assert len(asked) == 1
    chart.draw(VIEW, NOW + FRESH_FOR)
    assert len(asked) == 2
