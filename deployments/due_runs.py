"""When a planned run is due, and which of several late ones still matters."""

from collections.abc import Iterable
from uuid import UUID

from prefect.client.schemas.objects import FlowRun


def due_at(run: FlowRun) -> float:
    """Seconds since 1970; a run without a time is due at once."""
    due = run.next_scheduled_start_time or run.expected_start_time
    return due.timestamp() if due else 0.0


def superseded(found: Iterable[FlowRun], now: float) -> set[UUID]:
    """Planned runs whose time has come, where it has for a later run of the same deployment too."""
    due = sorted((run for run in found if run.auto_scheduled and due_at(run) <= now), key=due_at)
    last = {run.deployment_id: run.id for run in due}
    return {run.id for run in due} - set(last.values())
