"""Resolution as a flow: find the bad commit, revert it as a reviewed diff, canary, promote, guard."""

from prefect import flow
from prefect.flow_runs import suspend_flow_run

from tasks.bisect import confirm_cause
from tasks.deployment_document import document_all
from tasks.fix_approval import open_fix_question, take_fix_answer
from tasks.fix_steps import apply_fix, close_incident, judge_fix, prepare_fix, promote_fix, roll_back_fix
from tasks.forms import ApprovalForm, FixRequest
from tasks.runs import State, ended

ANY_CAUSE = FixRequest()


@flow(name="resolve", flow_run_name="resolve {incident}")
def resolve(incident: str, request: FixRequest = ANY_CAUSE) -> State[str]:
    """Removes the cause of a contained incident. Where several commits could have done it and a trial is configured, a
    bisection in a place without users says which. Then it undoes the configuration commit, or does what the request
    says, as a validated diff with a guard that would have caught it; asks the service's owner where the policy wants
    that; puts it into force on the isolated instance; compares the instance with its siblings under a tenth of the
    traffic; then promotes it and releases the containment, or takes everything back and hands the incident to a person.
    Run it again after a crash: it goes on where the fix stands.
    """
    if not request.is_given:
        confirm_cause(incident)
    fix = prepare_fix(incident, request)
    if fix is None:
        return ended("handed to a person: its incident says why")
    while (question := open_fix_question(fix)) is not None:
        form = ApprovalForm.with_initial_data(description=question.text)
        take_fix_answer(fix, suspend_flow_run(form, timeout=question.timeout_seconds, key=question.key))
    if not apply_fix(fix):
        return ended(f"{fix} was taken back: its incident says why")
    verdict, reason = judge_fix(fix)
    if verdict != "promote":
        roll_back_fix(fix, f"canary {verdict}: {reason}")
        return ended(f"{fix} was taken back: {reason}")
    promote_fix(fix, reason)
    return ended(f"{incident} is {close_incident(fix)}")


@flow(name="document-deployments", flow_run_name="document deployments")
def document_deployments() -> State[str]:
    """Brings the deployment document and the deployment log of every service up to date in the service's repository:
    known failure modes, checks before and after deploying, the rollback and when it was last proven. Each is a branch
    to review and merge; nothing that is deployed changes.
    """
    waiting = document_all()
    return ended(f"waiting for review: {', '.join(waiting) or 'nothing, all are up to date'}")
