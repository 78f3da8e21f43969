"""Release: what was effective comes back, a little at a time where its plan says so, and stays out when it hurts again.

Each call of `ease_once` is one small step that any process may take, so a release goes on whoever dies.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from quell.actuator import GradualActuator
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.response.reconciliation import is_easing
from quell.response.release import Answers, ReleaseRule, trouble_of
from tasks.effect import UNDO_WAITS, undo_held
from tasks.lease import Hold, hold
from tasks.levers import get_actuator
from tasks.record import QUELL, get_mitigation, move, note
from tasks.recovery import is_outside
from tasks.resources import Resources

_POLL_SECONDS = 0.5
_BLIND = timedelta(minutes=5)  # missing data is never healthy: so long without samples stops a release
_Eased = tuple[JournalEntry, GradualActuator]


def release_mitigation(
    res: Resources, mitigation_id: str, by: str, why: str, *, sleep: Callable[[float], None] = time.sleep
) -> Mitigation:
    """Release and wait until it is over: undone, undo_failed, or effective again because it began to hurt.

    It is still undoing where that takes very long (nothing can be seen of users); reconciliation then goes on with it.
    """
    mitigation = begin_release(res, mitigation_id, by, why)
    until = res.clock() + _longest(res, mitigation)
    while is_easing(mitigation) and res.clock() < until:
        sleep(_POLL_SECONDS)
        with suppress(Unavailable):  # it is asked again, and reconciliation goes on with it
            mitigation = ease_once(res, mitigation_id)
    return mitigation


def begin_release(res: Resources, mitigation_id: str, by: str, why: str) -> Mitigation:
    """Give back the first share; everything at once where the plan has no shares or it is not in force as judged.

    One that is being released already is left to whoever does it.
    """
    with hold(res, mitigation_id, wait=UNDO_WAITS) as lease:
        with res.store.reading() as tx:
            mitigation = get_mitigation(tx, mitigation_id)
        if is_easing(mitigation):
            return mitigation
        is_gradual = mitigation.state is MitigationState.EFFECTIVE and bool(_rule(res, mitigation).shares)
        if not is_gradual or not _eased(res, mitigation):
            return undo_held(res, lease, mitigation_id, by, why)
        with res.store.writing() as tx:
            now = res.clock()
            lease.renew(tx, now)
            moved = move(tx, get_mitigation(tx, mitigation_id), MitigationState.UNDOING, now=now, by=by, why=why)
            tx.mitigations.put(replace(moved, eased_to=0.0, eased_at=now))
        return _give_next(res, lease, mitigation_id)


def ease_once(res: Resources, mitigation_id: str) -> Mitigation:
    """Give the next share when the last one has held; take everything back when it hurts."""
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, mitigation_id)
    if not is_easing(mitigation) or not _is_due(res, mitigation):
        return mitigation
    with hold(res, mitigation_id) as lease:
        with res.store.reading() as tx:
            mitigation = get_mitigation(tx, mitigation_id)
        if not is_easing(mitigation) or not _is_due(res, mitigation):
            return mitigation
        if not mitigation.eased_to:
            return _give_next(res, lease, mitigation_id)
        users = _users(res, mitigation)
        is_blind = users is None and res.clock() - (mitigation.eased_at or mitigation.updated_at) >= _BLIND
        trouble = _trouble_of_servers(res, mitigation)
        trouble = trouble or ("the users' signal is outside its limit again" if users else "")
        trouble = trouble or (f"nothing was seen of users for {_BLIND.total_seconds():g} s" if is_blind else "")
        if trouble:
            return _stop(res, lease, mitigation, trouble)
        return mitigation if users is None else _give_next(res, lease, mitigation_id)


def _rule(res: Resources, mitigation: Mitigation) -> ReleaseRule:
    playbook = res.config.playbooks.get(mitigation.playbook)
    return playbook.release if playbook else ReleaseRule()


def _longest(res: Resources, mitigation: Mitigation) -> timedelta:
    rule = _rule(res, mitigation)
    return (len(rule.shares) + 1) * (rule.hold + timedelta(seconds=5)) + _BLIND


def _is_due(res: Resources, mitigation: Mitigation) -> bool:
    if not mitigation.eased_to or mitigation.eased_at is None:  # nothing was given yet
        return True
    return res.clock() - mitigation.eased_at >= _rule(res, mitigation).hold


def _eased(res: Resources, mitigation: Mitigation) -> list[_Eased]:
    """The effects in force that can come back a little at a time, with their actuators."""
    with res.store.reading() as tx:
        entries = tx.journal.find({"mitigation": mitigation.id})
    found: list[_Eased] = []
    for entry in entries:
        actuator = get_actuator(res, entry.step.actuator)
        is_in_force = entry.state not in (JournalState.UNDONE, JournalState.FAILED)
        if is_in_force and isinstance(actuator, GradualActuator) and actuator.can_ease(entry.step):
            found.append((entry, actuator))
    return found


def _give_next(res: Resources, lease: Hold, id: str) -> Mitigation:
    """The next share, given before it is recorded: whoever finds it unrecorded gives the same one again."""
    with res.store.reading() as tx:
        mitigation = get_mitigation(tx, id)
    share = _rule(res, mitigation).after(mitigation.eased_to or 0.0)
    if share is None:
        return undo_held(res, lease, id, QUELL, "it came back a little at a time and nothing spoke against it")
    eased = _eased(res, mitigation)
    try:
        for entry, actuator in eased:
            actuator.ease(entry.step, entry.state_before, share)
        counts = {name: count for entry, actuator in eased for name, count in _counts(entry, actuator).items()}
    except QuellError as error:
        return undo_held(res, lease, id, QUELL, f"it could not come back a little at a time ({error})")
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        mitigation = replace(get_mitigation(tx, id), eased_to=share, eased_at=now, updated_at=now, answered=counts)
        tx.mitigations.put(mitigation)
        targets = ", ".join(entry.step.target for entry, _ in eased)
        held = _rule(res, mitigation).hold.total_seconds()
        text = f"{targets} takes {share:.0%} of its share again, for {held:g} s at least"
        note(tx, mitigation, "effect eased", now=now, by=QUELL, text=text)
    return mitigation


def _counts(entry: JournalEntry, actuator: GradualActuator) -> Mapping[str, int]:
    requests, errors = actuator.answered(entry.step)
    return {f"{entry.step.target} requests": requests, f"{entry.step.target} errors": errors}


def _trouble_of_servers(res: Resources, mitigation: Mitigation) -> str:
    """What the servers answered since they got their share, where it speaks against going on."""
    before: dict[str, Answers] = {}
    now: dict[str, Answers] = {}
    for entry, actuator in _eased(res, mitigation):
        target, known = entry.step.target, mitigation.answered
        before[target] = Answers(requests=known.get(f"{target} requests", 0), errors=known.get(f"{target} errors", 0))
        requests, errors = actuator.answered(entry.step)
        now[target] = Answers(requests=requests, errors=errors)
    return trouble_of(before, now)


def _users(res: Resources, mitigation: Mitigation) -> bool | None:
    """Whether the users' signal is outside its limit; None while nothing is seen of them."""
    playbook = res.config.playbooks.get(mitigation.playbook)
    return is_outside(res, playbook, mitigation.created_at) if playbook else False


def _stop(res: Resources, lease: Hold, mitigation: Mitigation, trouble: str) -> Mitigation:
    """Bring the effects into force again. Raises Unavailable when they cannot be; the next look tries again."""
    for entry, _ in _eased(res, mitigation):
        actuator = get_actuator(res, entry.step.actuator)
        actuator.apply(entry.step)
        if not actuator.verify(entry.step):
            raise Unavailable(f"{trouble}, and {entry.step.action} of {entry.step.target} is not in force again")
    with res.store.writing() as tx:
        now = res.clock()
        lease.renew(tx, now)
        why = f"the release was stopped at {mitigation.eased_to or 0:.0%}: {trouble}; it is in force again"
        current = get_mitigation(tx, mitigation.id)
        moved = move(tx, current, MitigationState.EFFECTIVE, now=now, by=QUELL, why=why)
        moved = replace(moved, expires_at=now + moved.plan.expires_after)
        tx.mitigations.put(moved)
        note(tx, moved, "handed to a person", now=now, by=QUELL, text=f"{why}; look before it is released again")
    return moved
