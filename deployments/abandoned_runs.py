"""Runs that say they go on although their process is dead: they hold their deployment's slot until somebody ends them.

Prefect frees the slot of a dead process when its lease runs out, six minutes later, and leaves the run as it is.
"""

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed

from deployments.process_identity import is_gone

_NAMELESS = timedelta(seconds=60)  # the sweeper says it before it claims, Prefect's process worker seconds later
_GOING_ON = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def end_abandoned(client: PrefectClient, pool: str, longest: timedelta, lost: Set[UUID]) -> list[str]:
    """Set the pool's runs of dead processes Crashed, or Cancelled where somebody had asked for that; a sentence each.

    `lost` are runs that this process gave up without having told Prefect. What another machine runs is left alone until
    `longest` is over, which no living sweeper lets a run last.
    """
    said: list[str] = []
    for run in await _going_on(client, pool):
        if run.id in lost:
            reason = "its process lost the connection to Prefect's server while it ran"
        else:
            reason = _why_abandoned(run, datetime.now(UTC), longest)
        if reason is None:
            continue
        is_cancelling = run.state is not None and run.state.type is StateType.CANCELLING
        state = Cancelled(message=reason) if is_cancelling else Crashed(message=reason)
        await client.set_flow_run_state(run.id, state, force=True)
        said.append(f"run {run.name} ({run.id}) is set {state.name}: {reason}")
    return said


async def _going_on(client: PrefectClient, pool: str) -> list[FlowRun]:
    """By deployment and not by the run's own pool: a deployment that moved here may have left a run in the old one."""
    named = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    deployments = [deployment.id for deployment in await client.read_deployments(work_pool_filter=named)]
    if not deployments:
        return []
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=deployments),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_GOING_ON)),
    )
    return await client.read_flow_runs(flow_run_filter=wanted, limit=200)


def _why_abandoned(run: FlowRun, now: datetime, longest: timedelta) -> str | None:
    if run.infrastructure_pid and is_gone(run.infrastructure_pid):
        return f"its process {run.infrastructure_pid} is dead"
    if run.state is None:
        return None
    since = now - run.state.timestamp
    if not run.infrastructure_pid and run.state.type is StateType.PENDING and since > _NAMELESS:
        return f"it was claimed {since.total_seconds():.0f} s ago, and no process has said that it runs it"
    if since > longest:
        return f"it is {run.state.type.value.lower()} for more than {longest.total_seconds():.0f} s"
    return None
