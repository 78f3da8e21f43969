"""Prefect runs as Quell sees them: start one once, resume one, link to one."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError, ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as current_run
from prefect.settings import PREFECT_UI_URL
from prefect.states import Completed

from quell.incidents.errors import Refused, Unavailable
from quell.incidents.incident import Severity

_SEVERITIES = frozenset[str](Severity)


@contextmanager
def _server() -> Generator[SyncPrefectClient]:
    """The Prefect server. Raises Unavailable when it does not answer, or answers that it cannot now."""
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise Unavailable(
            f"the Prefect server does not answer ({error}): start it, or look at PREFECT_API_URL"
        ) from error
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code < 500 and code != 429:
            raise
        raise Unavailable(f"the Prefect server is too busy (HTTP {code}), or has failed: look at its log") from error


def log() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The logger of the current run, or the process's own outside of one."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("quell")


def start_run(
    deployment: str,
    parameters: Mapping[str, Any],
    *,
    key: str,
    tags: Sequence[str] = (),
    name: str | None = None,
) -> str:
    """Start a run of `flow/deployment`; the same key never starts a second one. Returns the flow run's id.

    Raises Unavailable when the Prefect server does not answer or does not know the deployment.
    """
    try:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters), name=name, tags=list(tags), idempotency_key=key
            )
    except ObjectNotFound as error:
        raise Unavailable(
            f'run of "{deployment}" could not be started: the Prefect server does not know this deployment; run '
            '"quell up", or "prefect deploy --all --prefect-file deployments/prefect.yaml"'
        ) from error
    except (PrefectException, httpx.HTTPError, OSError, RuntimeError) as error:
        raise Unavailable(f'run of "{deployment}" could not be started: {error}') from error
    return str(run.id)


def resume_run(flow_run_id: str, run_input: Mapping[str, Any]) -> None:
    """Resume a suspended run with its form's values.

    Raises Refused with Prefect's reason when it does not accept them: the HTTP code is 200 even then, so the
    answer's own status decides.
    """
    with _server() as client:
        answer = client.resume_flow_run(UUID(flow_run_id), run_input=dict(run_input))
    if answer.status.value != "ACCEPT":
        reason = getattr(answer.details, "reason", None) or answer.status.value
        raise Refused(f"run {flow_run_id} was not resumed: {reason}")


def run_state(flow_run_id: str) -> str | None:
    """The state's type in lower case (`running`, `paused`, `completed`, ...); None when the run is unknown."""
    try:
        with _server() as client:
            run = client.read_flow_run(UUID(flow_run_id))
    except ObjectNotFound:
        return None
    return run.state.type.value.lower() if run.state else None


def ended(sentence: str) -> State[str]:
    """The end of a run: the sentence is its state's message, which the UI shows, and its result for callers."""
    return Completed(message=sentence, data=sentence)


def tag_run(*tags: str | None) -> None:
    """Add tags to the current run, which learns only from the store what it is about. Outside a run nothing happens.

    A severity takes the place of an older one.
    A server that does not take them must not fail the work: the failure is logged.
    """
    run_id = current_run_id()
    if run_id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            known = client.read_flow_run(UUID(run_id)).tags
            outdated = _SEVERITIES if _SEVERITIES & set(tags) else frozenset[str]()
            wanted = list(dict.fromkeys((*(t for t in known if t not in outdated), *(t for t in tags if t))))
            if wanted != known:
                client.update_flow_run(UUID(run_id), tags=wanted)
    except Exception as error:  # noqa: BLE001 - whatever the server says, the incident goes on
        log().warning("run %s could not be tagged: %s", run_id, error)


def has_waited() -> bool:
    """Whether the current run was suspended before and now begins from the top again."""
    context = FlowRunContext.get()
    policy = context.flow_run.empirical_policy if context and context.flow_run else None
    return bool(policy and policy.pause_keys)


def resumed_at(flow_run_id: str) -> datetime | None:
    """When the suspended run was last answered and accepted, by Prefect's own history; None while it was not."""
    with _server() as client:
        states = sorted(client.read_flow_run_states(UUID(flow_run_id)), key=lambda state: state.timestamp)
    answered = [
        after.timestamp
        for before, after in pairwise(states)
        if before.type is StateType.PAUSED and after.type is StateType.SCHEDULED
    ]
    return answered[-1] if answered else None


def current_run_id() -> str | None:
    """The id of the flow run that this code is part of."""
    run_id = current_run.get_id()
    return str(run_id) if run_id else None


def run_url(flow_run_id: str) -> str:
    """Where a person sees the run."""
    base = (PREFECT_UI_URL.value() or "").rstrip("/")
    return f"{base}/v2/runs/flow-run/{flow_run_id}"
