"""Which of several late runs still matters: dropping a wrong one would be a sweep that never happens."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.due_runs import superseded

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
SWEEP, UPKEEP = uuid4(), uuid4()


def planned(seconds: float, deployment: UUID = SWEEP, *, by_schedule: bool = True) -> FlowRun:
    """A run that is due so many seconds from now."""
    due = NOW + timedelta(seconds=seconds)
    return FlowRun(flow_id=uuid4(), deployment_id=deployment, expected_start_time=due, auto_scheduled=by_schedule)


def dropped(*runs: FlowRun) -> list[int]:
    gone = superseded(runs, NOW.timestamp())
    return [place for place, run in enumerate(runs) if run.id in gone]


def test_of_late_runs_the_last_one_stays() -> None:
    assert dropped(planned(-3), planned(-9), planned(-6)) == [1, 2]


def test_a_run_whose_time_has_not_come_replaces_nothing() -> None:
    assert dropped(planned(-1), planned(0.5), planned(2)) == []


def test_runs_of_another_deployment_are_not_compared() -> None:
    assert dropped(planned(-9, UPKEEP), planned(-3), planned(-6)) == [2]


def test_what_a_person_asked_for_is_never_dropped() -> None:
    assert dropped(planned(-9, by_schedule=False), planned(-6), planned(-3)) == [1]
