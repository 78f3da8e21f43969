"""Run health: the flow runs of a week, asked of Prefect, and kept when the week is over: its server forgets."""

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from quell.incidents.errors import Unavailable
from quell.ports import Document, Transaction
from quell.prevention.weekly.runs import FlowHealth, RunHealth
from quell.prevention.weekly.week import Week
from tasks.resources import Resources

KIND = "weekly runs"  # of the documents
QUELL_TAG = "quell"  # that every deployment of prefect.yaml has
SAMPLE = 200  # the last runs of a flow, of which durations are taken
_MOST_BAD = 50
_MOST_DEPLOYMENTS = 200
_TIMEOUT_SECONDS = 5.0


def run_health(res: Resources, week: Week) -> RunHealth:
    """What Prefect says of the week's runs; of a week that is over, what was kept. Says why where it cannot say."""
    with res.store.reading() as tx:
        kept = _kept(tx, week)
    if kept is not None:
        return kept
    try:
        return ask_prefect(week, res.clock())
    except Unavailable as error:
        return RunHealth(unavailable=str(error))


def keep_run_health(res: Resources, week: Week) -> RunHealth:
    """As `run_health`, and remembered where the week is over and Prefect could be asked."""
    health, now = run_health(res, week), res.clock()
    if week.is_over(now) and not health.unavailable:
        body = {"flows": [asdict(flow) for flow in health.flows]}
        with res.store.writing() as tx:
            if tx.documents.get(_id(week)) is None:
                tx.documents.put(Document(id=_id(week), kind=KIND, updated_at=now, body=body))
    return health


def ask_prefect(week: Week, now: datetime) -> RunHealth:
    """Raises Unavailable where no server is configured or it does not answer."""
    with _server() as client:
        tags = DeploymentFilter(tags=DeploymentFilterTags(all_=[QUELL_TAG]))
        deployed = client.read_deployments(deployment_filter=tags, limit=_MOST_DEPLOYMENTS)
        ids = list(dict.fromkeys(deployment.flow_id for deployment in deployed))
        if not ids:
            return RunHealth(unavailable="the Prefect server has no deployment of Quell: `quell up` registers them")
        flows = client.read_flows(flow_filter=FlowFilter(id=FlowFilterId(any_=ids)), limit=_MOST_DEPLOYMENTS)
        end = min(week.end, now)
        found = [_flow(client, flow.id, flow.name, week.start, end) for flow in flows]
    return RunHealth(flows=tuple(flow for flow in found if flow.runs))


@contextmanager
def _server() -> Generator[SyncPrefectClient]:
    """Prefect's own client would start a server of its own where none is configured: that one knows of no runs."""
    if not PREFECT_API_URL.value():
        raise Unavailable("no Prefect server is configured: set connections.prefect_ui or PREFECT_API_URL")
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}),  # somebody waits for the page
            get_client(httpx_settings={"timeout": _TIMEOUT_SECONDS}, sync_client=True) as client,
        ):
            yield client
    except (httpx.HTTPError, PrefectException, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(f"the Prefect server does not answer ({said})") from error


def _flow(client: SyncPrefectClient, id: UUID, name: str, start: datetime, end: datetime) -> FlowHealth:
    done = _runs(client, id, start, end, [StateType.COMPLETED], SAMPLE)
    bad = _runs(client, id, start, end, [StateType.FAILED, StateType.CRASHED], _MOST_BAD)
    return FlowHealth(
        flow=name,
        states=_states(client, id, start, end),
        seconds={str(run.id): run.total_run_time.total_seconds() for run in done},
        bad=tuple(str(run.id) for run in bad),
    )


def _states(client: SyncPrefectClient, id: UUID, start: datetime, end: datetime) -> Mapping[str, int]:
    """Counted by the server: a week of sweeps is too many runs to read."""
    seconds = ceil((end - start).total_seconds())
    if seconds < 1:
        return {}
    body = {
        "history_start": start.isoformat(),
        "history_end": end.isoformat(),
        "history_interval_seconds": seconds,
        "flows": {"id": {"any_": [str(id)]}},
    }
    answer: list[dict[str, Any]] = client.request("POST", "/flow_runs/history", json=body).json()
    counts: Counter[str] = Counter()
    for interval in answer:
        for state in interval["states"]:
            counts[str(state["state_type"]).lower()] += int(state["count_runs"])
    return dict(counts)


def _runs(
    client: SyncPrefectClient, id: UUID, start: datetime, end: datetime, states: list[StateType], limit: int
) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter(id=FlowFilterId(any_=[id])),
        flow_run_filter=FlowRunFilter(
            expected_start_time=FlowRunFilterExpectedStartTime(after_=start, before_=end),  # pyright: ignore[reportArgumentType] - Prefect's DateTime is a datetime
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


def _id(week: Week) -> str:
    return f"{KIND} {week.name}"


def _kept(tx: Transaction, week: Week) -> RunHealth | None:
    found = tx.documents.get(_id(week))
    if found is None:
        return None
    flows: list[dict[str, Any]] = found.body["flows"]
    return RunHealth(flows=tuple(_read_flow(flow) for flow in flows))


def _read_flow(body: Mapping[str, Any]) -> FlowHealth:
    return FlowHealth(
        flow=body["flow"], states=dict(body["states"]), seconds=dict(body["seconds"]), bad=tuple(body["bad"])
    )
