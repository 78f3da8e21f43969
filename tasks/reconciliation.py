"""Reconciliation: finish or undo what a dead process left, and end what has run out."""

from dataclasses import dataclass

from quell.incidents.errors import Conflict, QuellError
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.response.reconciliation import Action, Need, need_of
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.escalation import escalate_due
from tasks.question import tally_of
from tasks.record import ACTIVE_STATES, QUELL, get_mitigation, move, note
from tasks.recovery import judge_once
from tasks.release import begin_release, ease_once
from tasks.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    mitigation: Mitigation
    need: Need


def reconcile_all(res: Resources) -> list[str]:
    """Give every mitigation that nobody works on what it needs; returns one sentence for each that was touched.

    Trouble with one does not keep the others from being looked at.
    """
    return [*escalate_due(res), *(sentence for work in _find_work(res) if (sentence := _settle(res, work)))]


def _find_work(res: Resources) -> list[_Work]:
    with res.store.reading() as tx:
        now = res.clock()
        work: list[_Work] = []
        for mitigation in tx.mitigations.find({"state": ACTIVE_STATES}):
            waits = mitigation.state is MitigationState.AWAITING_APPROVAL
            answer = tally_of(res, tx, mitigation).answer if waits else None
            need = need_of(mitigation, answer=answer, lease=tx.leases.get(mitigation.id), now=now)
            if need is not None:
                work.append(_Work(mitigation=mitigation, need=need))
        return work


def _settle(res: Resources, work: _Work) -> str:
    before = work.mitigation
    try:
        after = _do(res, before, work.need)
    except Conflict as error:  # somebody was faster
        return f"{before.id}: {error}"
    except QuellError as error:
        return f"{before.id} is {before.state} and could not be settled ({work.need.why}): {error}"
    if after.state is before.state:
        return ""
    return f"{after.id} was {before.state} and is {after.state}: {work.need.why}"


def _do(res: Resources, mitigation: Mitigation, need: Need) -> Mitigation:
    match need.action:
        case Action.APPLY:
            return apply_mitigation(res, mitigation.id)
        case Action.JUDGE:
            return judge_once(res, mitigation.id)
        case Action.UNDO:
            return undo_mitigation(res, mitigation.id, QUELL, need.why)
        case Action.RELEASE:
            return begin_release(res, mitigation.id, QUELL, need.why)
        case Action.EASE:
            return ease_once(res, mitigation.id)
        case Action.REFUSE:
            return end_pending(res, mitigation.id, MitigationState.REFUSED, need.why)
        case Action.EXPIRE:
            return end_pending(res, mitigation.id, MitigationState.EXPIRED, need.why)


def end_pending(res: Resources, mitigation_id: str, to: MitigationState, why: str) -> Mitigation:
    """End what was never applied, unless it has been moved on meanwhile."""
    with res.store.writing() as tx:
        now = res.clock()
        mitigation = get_mitigation(tx, mitigation_id)
        if mitigation.state is not MitigationState.AWAITING_APPROVAL:
            return mitigation
        refused = tally_of(res, tx, mitigation).refusal
        by = refused.person if refused and to is MitigationState.REFUSED else QUELL
        ended = move(tx, mitigation, to, now=now, by=by, why=why)
        if to is MitigationState.EXPIRED:
            note(tx, ended, "handed to a person", now=now, by=QUELL, text=why)
        return ended
