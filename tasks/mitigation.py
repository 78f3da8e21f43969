"""Mitigation for flows: each task is one step of its life; the work is in planning, effect, recovery and approval.

The plain functions (`plan_for_incident`, `plan_manual`, `apply_mitigation`, `judge_recovery`, `undo_mitigation`,
`reconcile_all`) take `res` and need no Prefect; the tasks below are the same with the process's own resources.
Tasks are never cached: a run that comes back from waiting reads the store again.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.decision import Answer
from quell.incidents.errors import Conflict
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.response.story import short_title
from tasks import story
from tasks.artifacts import publish
from tasks.asking import OpenQuestion, question_until, take_form
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.forms import ApprovalForm, MitigationRequest
from tasks.keeping import keep_in_force
from tasks.mitigation_runs import remember_response, remember_run
from tasks.planning import plan_for_incident, plan_manual
from tasks.question import PREFECT, asked_on, question_about, tally_of
from tasks.reconciliation import end_pending, reconcile_all
from tasks.record import QUELL, get_incident, get_mitigation
from tasks.recovery import judge_recovery
from tasks.release import release_mitigation
from tasks.resources import Resources, resources
from tasks.runs import current_run_id, has_waited, log, start_run
from tasks.story import (
    mitigate_title,
    question_text,
    release_title,
    show_dry_run,
    show_outcome,
    show_plan,
)
from tasks.waking import wake

__all__ = [
    "apply_mitigation",
    "judge_recovery",
    "plan_for_incident",
    "plan_manual",
    "reconcile_all",
    "undo_mitigation",
]
_ENDED_UNTOUCHED = (MitigationState.REFUSED, MitigationState.EXPIRED)


# Retries: HAProxy may be reloading.
@task(name="plan", task_run_name="plan {incident}", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=2)
def plan_response(incident: str) -> Mitigation | None:
    """Plan what the playbooks say about the incident, or say on its timeline why nothing may be done."""
    res = resources()
    planned = plan_for_incident(res, incident)
    log().info("%s: %s", incident, f"{planned.id} is {planned.state}" if planned else "nothing is planned")
    remember_response(res, incident, planned)
    return planned


@task(name="show the response", task_run_name="show what becomes of {incident}", cache_policy=NO_CACHE)
def show_response(incident: str, mitigation_id: str = "") -> None:
    """The plan and what becomes of it as an artifact, or why nothing is done."""
    res = resources()
    story.show_response(res, incident, _find(res, mitigation_id) if mitigation_id else None)


@task(name="plan request", task_run_name="plan", cache_policy=NO_CACHE)
def plan_request(request: MitigationRequest) -> str | None:
    """The mitigation that the request is about, planned and shown; None for a dry run."""
    res = resources()
    if request.mitigation:
        mitigation = _find(res, request.mitigation)
    elif request.dry_run:
        show_dry_run(res, request)
        return None
    else:
        asked = (request.playbook, request.service, request.target, request.incident or None)
        who, run = request.requested_by, current_run_id()  # Prefect has no users: the name is what somebody typed
        mitigation = plan_manual(res, *asked, who, request.reason, flow_run=run, is_proven=False)
    remember_run(res, mitigation.id, current_run_id())
    if not has_waited():  # a run that comes back has shown it
        show_plan(res, mitigation)
    return mitigation.id


# Retries: Prefect may restart.
@task(
    name="ask in a run of its own",
    task_run_name="ask about {mitigation_id} in a run of its own",
    cache_policy=NO_CACHE,
    retries=5,
    retry_delay_seconds=2,
)
def start_mitigate_run(mitigation_id: str) -> str:
    """Start the run that waits for a person; only a deployment's run can be suspended."""
    res = resources()
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        incident = get_incident(tx, mitigation.incident) if mitigation.incident else None
    run = start_run(
        "mitigate/mitigate",
        {"request": {"mitigation": mitigation_id, "dry_run": False}},
        key=f"mitigate {mitigation_id}",
        name=f"mitigate {short_title(mitigation.plan)}",
        tags=[mitigation.service, *([incident.id, incident.severity] if incident else []), "response"],
    )
    remember_run(res, mitigation_id, run)
    return run


@task(name="what is to be asked", task_run_name="is {mitigation_id} decided?", cache_policy=NO_CACHE)
def open_question(mitigation_id: str) -> OpenQuestion | None:
    """The question that a person has to answer now; None when it is answered, too late, or nobody needs to be asked."""
    res = resources()
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        is_open = question_about(res, tx, mitigation_id).is_open
        standing, asked = tally_of(res, tx, mitigation).standing, asked_on(tx, mitigation_id, PREFECT)
    deadline = mitigation.approval_deadline
    if not is_open or deadline is None:
        return None
    text = question_text(res, mitigation, deadline, asked.rejected, standing)
    return question_until(deadline, res.clock(), text=text, answered=asked.answered)


@task(name="take the answer", task_run_name="take the answer to {mitigation_id}", cache_policy=NO_CACHE)
def take_answer(mitigation_id: str, form: ApprovalForm) -> bool:
    """Check the answer; one that is not accepted is logged with its reason, and the question stays open."""
    res = resources()
    with res.store.reading() as tx:
        shown = get_mitigation(tx, mitigation_id).plan_hash
    return take_form(res, mitigation_id, shown, form)


@task(name="apply", task_run_name="apply {mitigation_id}", cache_policy=NO_CACHE)
def apply_plan(mitigation_id: str) -> MitigationState:
    """Carry out the plan when it may be; a refused or late one ends here without touching anything."""
    res = resources()
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
        answers = tally_of(res, tx, mitigation)
    if mitigation.state is MitigationState.AWAITING_APPROVAL and answers.answer is not Answer.APPROVE:
        said = answers.refusal
        to = MitigationState.REFUSED if said else MitigationState.EXPIRED
        missing = f"not enough persons decided in time: {answers.standing}" if answers.approvals else ""
        why = f"{said.person}: {said.comment or 'no'}" if said else missing or "nobody decided in time"
        return end_pending(res, mitigation_id, to, why).state
    return apply_mitigation(res, mitigation_id).state


@task(name="judge recovery", task_run_name="judge recovery of {mitigation_id}", cache_policy=NO_CACHE)
def judge(mitigation_id: str) -> MitigationState:
    """Watch the users' signal until the mitigation is effective, ineffective or inconclusive."""
    judged = judge_recovery(resources(), mitigation_id)
    log().info("%s is %s: %s", judged.id, judged.state, judged.recovery_reason)
    return judged.state


@task(name="undo", task_run_name="undo {mitigation_id}", cache_policy=NO_CACHE)
def undo(mitigation_id: str, by: str, why: str) -> MitigationState:
    """Put everything back and read it back."""
    return undo_mitigation(resources(), mitigation_id, by, why).state


@task(name="release", task_run_name="release {mitigation_id}", cache_policy=NO_CACHE)
def put_back(mitigation_id: str, by: str, why: str, *, at_once: bool) -> MitigationState:
    """Give back what was taken: a little at a time where the playbook says so, else everything and read back."""
    res = resources()
    if at_once:
        return undo_mitigation(res, mitigation_id, by, why).state
    return release_mitigation(res, mitigation_id, by, why).state


@contextmanager
def undone_when_stopped(mitigation_id: str) -> Generator[None]:
    """Whatever stops the run in here, the effect is taken back, without Prefect: such a run starts no more tasks.

    After a Conflict another process has the mitigation in hand, and it finishes or undoes it.
    """
    try:
        yield
    except Conflict:
        raise
    except BaseException as error:
        log().error("%s is undone: %s: %s", mitigation_id, type(error).__name__, error)
        why = f"the run was stopped: {type(error).__name__} {error}".strip()
        undo_mitigation(resources(), mitigation_id, QUELL, why)
        raise


@task(name="tell the outcome", task_run_name="tell the outcome of {mitigation_id}", cache_policy=NO_CACHE)
def tell(mitigation_id: str, title: str = "mitigation") -> str:
    """Leave the story as an artifact `title MIT-1`, and return its first sentence, for the run's state."""
    return show_outcome(resources(), mitigation_id, title)


@task(name="reconcile", cache_policy=NO_CACHE)
def reconcile_everything() -> list[str]:
    """Finish or undo what dead processes left; runs that still wait for a mitigation that is over are woken."""
    res = resources()
    sentences = [*reconcile_all(res), *keep_in_force(res)]
    with res.store.reading() as tx:
        over = tx.mitigations.find({"state": _ENDED_UNTOUCHED}, order="updated_at", descending=True, limit=20)
    for mitigation in over:
        if mitigation.flow_run and any(s.startswith(f"{mitigation.id} ") for s in sentences):
            wake(mitigation.flow_run)
    if sentences:
        text = "\n".join(f"- {sentence}" for sentence in sentences)
        publish("reconcile", f"## Settled\n\n{text}", "What a dead process left, or what ran out")
    return sentences


def mitigate_run_name(parameters: Mapping[str, Any]) -> str:
    """`mitigate INC-42 isolate checkout-2`, for a run with these parameters."""
    return mitigate_title(resources(), parameters)


def release_run_name(parameters: Mapping[str, Any]) -> str:
    """`release INC-42 isolate checkout-2`, for a run with these parameters."""
    return release_title(resources(), parameters)


def _find(res: Resources, mitigation_id: str) -> Mitigation:
    with res.store.reading() as tx:
        return get_mitigation(tx, mitigation_id)
