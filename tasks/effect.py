"""Effects: carry out a plan and take it back, with the intent in the journal before anything is touched.

A process may die at any line: what it intended, the state before, and thereby the undo are committed, and whoever
takes the lease next carries on from there. Steps are idempotent, so carrying on gives one effect, never two.
"""

from datetime import datetime, timedelta

from quell.incidents.decision import Answer as Said
from quell.incidents.errors import Conflict, Refused
from quell.incidents.journal import LEASE_TIME
from quell.incidents.mitigation import HOLDING_STATES, PENDING_STATES, Mitigation, MitigationState, plan_hash
from quell.ports import Transaction
from quell.response.approval import has_run_out
from quell.response.refusal import Answer, Refusal
from tasks.lease import Hold, hold
from tasks.levers import live_capacity
from tasks.planning import Draft, ask_guardrails
from tasks.question import tally_of
from tasks.record import QUELL, get_mitigation, move
from tasks.resources import Resources
from tasks.steps import carry_out, put_back

UNDO_WAITS = LEASE_TIME + timedelta(seconds=5)  # also for the lease of a process that has just died


def apply_mitigation(res: Resources, mitigation_id: str) -> Mitigation:
    """Carry out the plan; the state returned tells the rest: applied, refused, or undone after a failed step.

    Raises Refused when a needed approval is missing, Conflict when another process is at it, Unavailable when the
    load balancer cannot be asked (nothing has been touched then).
    """
    with hold(res, mitigation_id) as lease:
        mitigation = _begin(res, lease, mitigation_id)
        if mitigation.state is not MitigationState.APPLYING:
            return mitigation
        try:
            carry_out(res, lease, mitigation)
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 - whatever went wrong, what was done must be taken back
            return undo_held(res, lease, mitigation_id, QUELL, f"it could not be applied: {error}")
        with res.store.writing() as tx:
            now = res.clock()
            lease.renew(tx, now)
            why = "every step is done and was read back"
            return move(tx, get_mitigation(tx, mitigation_id), MitigationState.APPLIED, now=now, by=QUELL, why=why)


def undo_mitigation(res: Resources, mitigation_id: str, by: str, why: str) -> Mitigation:
    """Put back what the mitigation changed, and verify it; the kill switch does not stop this.

    One that was not applied yet is withdrawn. The state returned is undone, refused, or undo_failed (retried by
    reconciliation, and for a person to look at). Whoever died with the lease in hand delays it by LEASE_TIME at most.
    """
    with hold(res, mitigation_id, wait=UNDO_WAITS) as lease:
        return undo_held(res, lease, mitigation_id, by, why)


def _begin(res: Resources, lease: Hold, id: str) -> Mitigation:
    """The last check before the first effect: kill switch, guardrails against live capacity, approval."""
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, id)
    if mitigation.state not in (*PENDING_STATES, MitigationState.APPLYING):
        return mitigation
    draft = _draft_again(res, mitigation)
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        mitigation = get_mitigation(tx, id)
        if mitigation.state not in (*PENDING_STATES, MitigationState.APPLYING):
            return mitigation
        answer = _ask_again(res, tx, draft, mitigation, now) if draft else _not_configured(mitigation)
        if not isinstance(answer, Refusal):
            return _approved(res, tx, mitigation, now)
        if mitigation.state is not MitigationState.APPLYING:
            return move(tx, mitigation, MitigationState.REFUSED, now=now, by=QUELL, why=answer.sentence)
    return undo_held(res, lease, id, QUELL, f"it was being applied and may not go on: {answer.sentence}")


def _draft_again(res: Resources, mitigation: Mitigation) -> Draft | None:
    """The stored plan with live capacity as it is now; None when the configuration does not know it any more."""
    playbook = res.config.playbooks.get(mitigation.playbook)
    service = res.config.catalog.service(mitigation.service)
    if playbook is None or service is None:
        return None
    live = live_capacity(res, service, [step.actuator for step in mitigation.plan.steps])
    return Draft(playbook=playbook, service=service, plan=mitigation.plan, live=live, answers=mitigation.answers)


def _ask_again(res: Resources, tx: Transaction, draft: Draft, mitigation: Mitigation, now: datetime) -> Answer:
    """What a person approved counts as asked for by a person. The steps must be those that the hash was made of."""
    if (made_of := plan_hash(mitigation.plan)) != mitigation.plan_hash:
        value, limit = f"the stored steps have {made_of[:12]}", mitigation.plan_hash[:12]
        return Refusal(rule="plan hash", value=value, limit=limit, advice="somebody changed the record; plan again")
    by = mitigation.approved_by or mitigation.requested_by
    return ask_guardrails(res, tx, draft, now=now, requested_by=by, own=mitigation)


def _not_configured(mitigation: Mitigation) -> Refusal:
    value = f"{mitigation.playbook} or {mitigation.service} is gone"
    return Refusal(rule="configuration", value=value, limit="both configured", advice="plan again")


def _approved(res: Resources, tx: Transaction, mitigation: Mitigation, now: datetime) -> Mitigation:
    if mitigation.state is MitigationState.APPLYING:
        return mitigation
    by, why = QUELL, mitigation.plan.approval_reason
    if mitigation.plan.needs_approval:
        answers = tally_of(res, tx, mitigation)
        if answers.answer is not Said.APPROVE:
            raise Refused(
                f"{mitigation.id} needs an approval of plan {mitigation.plan_hash[:12]} by {answers.approvers} "
                f"person(s) and has {answers.standing or 'none'}",
                rule="approval",
                value=answers.standing or "none",
                limit=f"{answers.approvers} of plan {mitigation.plan_hash[:12]}",
            )
        if (late := has_run_out(mitigation.approval_deadline, now)) is not None:
            return move(tx, mitigation, MitigationState.EXPIRED, now=now, by=QUELL, why=late)
        by = ", ".join(answers.people)
        why = "; ".join(f"approved by {d.person} ({d.channel}): {d.comment or 'yes'}" for d in answers.approvals)
    return move(tx, mitigation, MitigationState.APPLYING, now=now, by=by, why=why)


def undo_held(res: Resources, lease: Hold, id: str, by: str, why: str) -> Mitigation:
    mitigation = _begin_undo(res, lease, id, by, why)
    if mitigation.state is not MitigationState.UNDOING:
        return mitigation
    had_effects, errors = put_back(res, lease, mitigation)
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        current = get_mitigation(tx, id)
        if errors:
            text = f"the undo failed, a person has to look: {'; '.join(errors)}"
            return move(tx, current, MitigationState.UNDO_FAILED, now=now, by=QUELL, why=text)
        text = f"{why}; everything is back and was read back" if had_effects else f"{why}; nothing had been changed"
        return move(tx, current, MitigationState.UNDONE, now=now, by=by, why=text)


def _begin_undo(res: Resources, lease: Hold, id: str, by: str, why: str) -> Mitigation:
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        mitigation = get_mitigation(tx, id)
        if mitigation.state in PENDING_STATES:
            return move(tx, mitigation, MitigationState.REFUSED, now=now, by=by, why=f"withdrawn: {why}")
        if mitigation.state not in HOLDING_STATES or mitigation.state is MitigationState.UNDOING:
            return mitigation
        return move(tx, mitigation, MitigationState.UNDOING, now=now, by=by, why=why)
