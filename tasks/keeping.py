"""Keeping: what the record says is in force is looked for outside, and put back once where it was lost.

A load balancer that was restarted without its state has forgotten what isolated a server, and nobody would notice.
What disappears a second time was taken away by somebody: then Quell gives in, undoes the rest and says so.
"""

from datetime import timedelta

from quell.incidents.errors import Conflict, QuellError
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.timeline import NO_INCIDENT
from quell.ports import Transaction
from tasks.effect import undo_held
from tasks.lease import hold
from tasks.levers import get_actuator
from tasks.record import QUELL, get_mitigation, note
from tasks.resources import Resources

RESTORED = "effect restored"
_IN_FORCE = (MitigationState.APPLIED, MitigationState.EFFECTIVE)


def keep_in_force(res: Resources) -> list[str]:
    """Look at every mitigation that is in force; one sentence for each whose effect was missing or cannot be seen."""
    with res.store.reading() as tx:
        held = [m for m in tx.mitigations.find({"state": _IN_FORCE}) if not _is_under_canary(tx, m)]
        entries = {m.id: tx.journal.find({"mitigation": m.id, "state": JournalState.DONE}) for m in held}
    return [said for m in held if (said := _keep(res, m, entries[m.id]))]


def _is_under_canary(tx: Transaction, mitigation: Mitigation) -> bool:
    """Whether a fix of its incident is being tried: then the server serves a little on purpose."""
    fixes = tx.fixes.find({"incident": mitigation.incident}) if mitigation.incident else []
    return any(tx.journal.find({"mitigation": fix.id, "state": JournalState.INTENDED}) for fix in fixes)


def _keep(res: Resources, mitigation: Mitigation, entries: list[JournalEntry]) -> str:
    try:
        if not any(_is_lost(res, entry) for entry in entries):
            return ""
        return _settle(res, mitigation.id, entries)
    except Conflict:  # somebody works on it
        return ""
    except QuellError as error:
        return f"{mitigation.id} is {mitigation.state} and its effect could not be looked at: {error}"


def _is_lost(res: Resources, entry: JournalEntry) -> bool:
    return not get_actuator(res, entry.step.actuator).verify(entry.step)


def _settle(res: Resources, id: str, entries: list[JournalEntry]) -> str:
    with hold(res, id, wait=timedelta(0)) as lease:
        with res.store.reading() as tx:
            mitigation = get_mitigation(tx, id)
            before = [
                e for e in tx.timeline.of(mitigation.incident or NO_INCIDENT) if e.subject == id and e.kind == RESTORED
            ]
        lost = [entry for entry in entries if _is_lost(res, entry)]
        if mitigation.state not in _IN_FORCE or not lost:
            return ""
        what = ", ".join(f"{entry.step.action} of {entry.step.target}" for entry in lost)
        if before:
            ended = undo_held(res, lease, id, QUELL, f"{what} was taken away outside of Quell again: it is let go")
            return f"{id} was {mitigation.state} and is {ended.state}: {what} was taken away outside of Quell twice"
        for entry in lost:
            actuator = get_actuator(res, entry.step.actuator)
            actuator.apply(entry.step)
            if not actuator.verify(entry.step):
                return f"{id}: {what} was lost outside of Quell and could not be put into force again"
        with res.store.writing() as tx:
            now = res.clock()
            lease.renew(tx, now)
            text = f"{what} was not in force any more and is again: was the load balancer restarted without its state?"
            note(tx, mitigation, RESTORED, now=now, by=QUELL, text=text)
    return f"{id}: {text}"
