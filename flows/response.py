"""Response as flows: plan, approve, mitigate, verify, release."""

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run

from quell.incidents.mitigation import MitigationState
from tasks.forms import ApprovalForm, MitigationRequest, ReleaseRequest
from tasks.mitigation import (
    apply_plan,
    judge,
    mitigate_run_name,
    open_question,
    plan_request,
    plan_response,
    put_back,
    release_run_name,
    show_response,
    start_mitigate_run,
    take_answer,
    tell,
    undo,
    undone_when_stopped,
)
from tasks.runs import State, ended, run_url


def _mitigate_name() -> str:
    return mitigate_run_name(flow_run.get_parameters())


def _release_name() -> str:
    return release_run_name(flow_run.get_parameters())


@flow(name="respond", flow_run_name="respond {incident}")
def respond(incident: str) -> State[str]:
    """Answer an incident: plan what its playbook says, and either do it or ask a person.

    What is allowed automatically happens in this run, and before anything is asked of Prefect's server. What needs
    approval starts a `mitigate` run that waits in the UI. Where no playbook applies or a guardrail objects, this
    run's artifact and the incident's timeline say why.

    Args:
        incident: The incident to answer, e.g. INC-7: see the incident's page
    """
    planned = plan_response(incident)
    if planned is None:
        show_response(incident)
        return ended(f"{incident}: nothing is planned, its timeline says why")
    if planned.state is MitigationState.AWAITING_APPROVAL:
        show_response(incident, planned.id)
        return ended(f"{planned.id} waits for a person: {run_url(start_mitigate_run(planned.id))}")
    with undone_when_stopped(planned.id):
        state = apply_plan(planned.id)
        show_response(incident, planned.id)
        _judge_and_end(planned.id, state)
    return ended(tell(planned.id))


@flow(name="mitigate", flow_run_name=_mitigate_name)
def mitigate(request: MitigationRequest) -> State[str]:
    """Isolate or throttle, with approval, verification and undo. It is a dry run unless you switch that off.

    The plan is an artifact of this run. When the policy asks for a person, the run waits, and the answer may also be
    given on the incident's page. Afterwards the users' signal decides: effective, or everything is put back.
    A run that comes back from waiting starts here again, and finds in the store what has been done.
    """
    planned = plan_request(request)
    if planned is None:
        return ended("dry run: nothing was changed, the plan is this run's artifact")
    while (question := open_question(planned)) is not None:
        form = ApprovalForm.with_initial_data(description=question.text)
        take_answer(planned, suspend_flow_run(form, timeout=question.timeout_seconds, key=question.key))
    with undone_when_stopped(planned):
        _judge_and_end(planned, apply_plan(planned))
    return ended(tell(planned))


def _judge_and_end(mitigation: str, state: MitigationState) -> None:
    """What did not help its users is taken back."""
    if state is MitigationState.APPLIED:
        state = judge(mitigation)
    if state in (MitigationState.INEFFECTIVE, MitigationState.INCONCLUSIVE):
        undo(mitigation, "quell", f"it was {state}")


@flow(name="release", flow_run_name=_release_name)
def release(request: ReleaseRequest) -> State[str]:
    """Undo a mitigation and verify the undo. It works while automation is switched off.

    What was effective comes back a little at a time where its playbook says so, and stays out when it hurts again.
    """
    put_back(request.mitigation, request.requested_by, request.reason, at_once=request.at_once)
    return ended(tell(request.mitigation, title="release"))
