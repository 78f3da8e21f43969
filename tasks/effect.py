"""Effects: carry out a plan and take it back, with the intent in the journal before anything is touched.

A process may die at any line: what it intended, the state before, and thereby the undo are committed, and whoever
takes the lease next carries on from there. Steps are idempotent, so carrying on gives one effect, never two.
"""

from dataclasses import replace
from datetime import datetime

from quell.incidents.decision import Answer as Said
from quell.incidents.errors import Conflict, QuellError, Refused, Unavailable
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import (
    HOLDING_STATES,
    PENDING_STATES,
    Mitigation,
    MitigationState,
    Step,
    plan_hash,
)
from quell.ports import Transaction
from quell.response.approval import has_run_out
from quell.response.guardrail import check_kill_switch
from quell.response.refusal import Answer, Refusal
from tasks.automation import automation_enabled
from tasks.lease import Hold, hold
from tasks.planning import Draft, ask_guardrails, get_actuator, live_capacity
from tasks.question import tally_of
from tasks.record import QUELL, get_mitigation, move, note
from tasks.resources import Resources


class EffectMissing(QuellError):
    """The actuator raised no error, but reading back shows that the effect is not in force."""


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
            for position, step in enumerate(mitigation.plan.steps, start=1):
                _carry_out(res, lease, mitigation, position, replace(step, key=_key(mitigation, position)))
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 - whatever went wrong, what was done must be taken back
            return _undo(res, lease, mitigation_id, QUELL, f"it could not be applied: {error}")
        with res.store.writing() as tx:
            now = res.clock()
            lease.renew(tx, now)
            why = "every step is done and was read back"
            return move(tx, get_mitigation(tx, mitigation_id), MitigationState.APPLIED, now=now, by=QUELL, why=why)


def undo_mitigation(res: Resources, mitigation_id: str, by: str, why: str) -> Mitigation:
    """Put back what the mitigation changed, and verify it; the kill switch does not stop this.

    One that was not applied yet is withdrawn. The state returned is undone, refused, or undo_failed (retried by
    reconciliation, and for a person to look at).
    """
    with hold(res, mitigation_id) as lease:
        return _undo(res, lease, mitigation_id, by, why)


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
    return _undo(res, lease, id, QUELL, f"it was being applied and may not go on: {answer.sentence}")


def _draft_again(res: Resources, mitigation: Mitigation) -> Draft | None:
    """The stored plan with live capacity as it is now; None when the configuration does not know it any more."""
    playbook = res.config.playbooks.get(mitigation.playbook)
    service = res.config.catalog.service(mitigation.service)
    if playbook is None or service is None:
        return None
    live = live_capacity(res, service, [step.actuator for step in mitigation.plan.steps])
    return Draft(playbook=playbook, service=service, plan=mitigation.plan, live=live)


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


def _key(mitigation: Mitigation, position: int) -> str:
    """The time is part of it: the numbers of mitigations begin anew with a new store, elsewhere they are remembered."""
    return f"{mitigation.id}/{position}@{mitigation.created_at:%Y%m%dT%H%M%SZ}"


def _carry_out(res: Resources, lease: Hold, mitigation: Mitigation, position: int, step: Step) -> None:
    actuator = get_actuator(res, step.actuator)
    entry = _intend(res, lease, mitigation, position, step)
    if not actuator.verify(step):
        actuator.apply(step)
        if not actuator.verify(step):
            raise EffectMissing(f"{step.action} of {step.target} raised no error but is not in force; look at it")
    try:
        _record(res, lease, mitigation, entry, JournalState.DONE, f"{actuator.describe(step)}: done and read back")
    except Conflict:
        _take_back_if_undone(res, mitigation, entry)
        raise


def _intend(res: Resources, lease: Hold, mitigation: Mitigation, position: int, step: Step) -> JournalEntry:
    """Commit intent and state before. After a death the first reading of the state before is the one that counts."""
    id = f"{mitigation.id}/{position}"
    with res.store.reading() as tx:
        known = tx.journal.get(id)
    before = known.state_before if known else get_actuator(res, step.actuator).read_state(step)
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        refusal = check_kill_switch(automation_enabled(tx))
        if refusal is not None:
            raise Refused(refusal.sentence, rule=refusal.rule, value=refusal.value, limit=refusal.limit)
        entry = JournalEntry(
            id=id,
            mitigation=mitigation.id,
            position=position,
            step=step,
            state_before=before,
            state=JournalState.INTENDED,
            holder=lease.holder,
            intended_at=known.intended_at if known else now,
        )
        tx.journal.put(entry)
        known_before = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in before.items())
        text = f"{step.action} {step.target}, state before: {known_before or 'none'}"
        note(tx, mitigation, "effect intended", now=now, by=QUELL, text=text)
    return entry


def _take_back_if_undone(res: Resources, mitigation: Mitigation, entry: JournalEntry) -> None:
    """We were too slow and lost the lease; if the new holder has undone it all, our late effect must go too."""
    with res.store.reading() as tx:
        current = get_mitigation(tx, mitigation.id)
    if current.state not in HOLDING_STATES or current.state in (MitigationState.UNDOING, MitigationState.UNDO_FAILED):
        get_actuator(res, entry.step.actuator).undo(entry.step, entry.state_before)


def _undo(res: Resources, lease: Hold, id: str, by: str, why: str) -> Mitigation:
    mitigation = _begin_undo(res, lease, id, by, why)
    if mitigation.state is not MitigationState.UNDOING:
        return mitigation
    with res.store.reading() as tx:
        entries = sorted(tx.journal.find({"mitigation": id}), key=lambda e: e.position, reverse=True)
    errors = [error for e in entries if (error := _put_back(res, lease, mitigation, e))]
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        current = get_mitigation(tx, id)
        if errors:
            text = f"the undo failed, a person has to look: {'; '.join(errors)}"
            return move(tx, current, MitigationState.UNDO_FAILED, now=now, by=QUELL, why=text)
        text = f"{why}; everything is back and was read back" if entries else f"{why}; nothing had been changed"
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


def _put_back(res: Resources, lease: Hold, mitigation: Mitigation, entry: JournalEntry) -> str:
    """Undo one step and read it back; the text of what went wrong, empty when it is back."""
    if entry.state is JournalState.UNDONE:
        return ""
    step, before = entry.step, entry.state_before
    _record(res, lease, mitigation, entry, JournalState.UNDO_INTENDED, f"undo of {step.action} {step.target}")
    try:
        actuator = get_actuator(res, step.actuator)
        actuator.undo(step, before)
        if not actuator.verify_undone(step, before):
            raise EffectMissing(f"undo of {step.action} {step.target} raised no error, but it is not back")
    except Exception as error:  # noqa: BLE001 - the other steps must be undone whatever happened to this one
        kind = "no answer" if isinstance(error, Unavailable) else type(error).__name__
        text = f"{step.action} {step.target}: {kind}: {error}"
        _record(res, lease, mitigation, entry, JournalState.UNDO_FAILED, text, error=text)
        return text
    _record(res, lease, mitigation, entry, JournalState.UNDONE, actuator.describe_undo(step) + ": done and read back")
    return ""


def _record(
    res: Resources,
    lease: Hold,
    mitigation: Mitigation,
    entry: JournalEntry,
    state: JournalState,
    text: str,
    *,
    error: str = "",
) -> None:
    finished = state not in (JournalState.INTENDED, JournalState.UNDO_INTENDED)
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        tx.journal.put(
            replace(entry, state=state, holder=lease.holder, finished_at=now if finished else None, error=error)
        )
        note(tx, mitigation, f"effect {state.replace('_', ' ')}", now=now, by=QUELL, text=text)
