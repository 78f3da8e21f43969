"""Steps: carry out a plan's steps and put them back, in order or side by side, tried again within a budget.

Before a step touches anything its intent and the state before are committed. Steps are idempotent, so trying again,
in this process or in the next, gives one effect.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from quell.incidents.errors import Conflict, QuellError, Refused, Unavailable
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import HOLDING_STATES, Mitigation, MitigationState, Step
from quell.response.guardrail import check_kill_switch
from tasks.automation import automation_enabled
from tasks.lease import Hold, kept
from tasks.planning import get_actuator
from tasks.record import QUELL, get_mitigation, note
from tasks.resources import Resources

R = TypeVar("R")
_MOST_AT_ONCE = 8
_LONGEST_WAIT_SECONDS = 5.0


class EffectMissing(QuellError):
    """The actuator raised no error, but reading back shows that the effect is not in force."""


class StepsFailed(QuellError):
    """Several steps that were done side by side failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One carrying out, or one undo, of a plan; nothing is tried again after `give_up` (time.monotonic)."""

    res: Resources
    lease: Hold
    mitigation: Mitigation
    give_up: float


def carry_out(res: Resources, lease: Hold, mitigation: Mitigation) -> None:
    """Bring every step into force, those that are so already included. Raises what the first failed stage raised."""
    work = _work(res, lease, mitigation)
    for stage in mitigation.plan.stages:
        _side_by_side([partial(_carry_out, work, position) for position in stage])


def put_back(res: Resources, lease: Hold, mitigation: Mitigation) -> tuple[bool, list[str]]:
    """Undo what was begun, the last stage first. Returns whether there was anything, and what went wrong."""
    work = _work(res, lease, mitigation)
    with res.store.reading() as tx:
        entries = {entry.position: entry for entry in tx.journal.find({"mitigation": mitigation.id})}
    errors: list[str] = []
    for stage in reversed(mitigation.plan.stages):
        begun = [entries[position] for position in reversed(stage) if position in entries]
        errors += [error for error in _side_by_side([partial(_put_back, work, entry) for entry in begun]) if error]
    return bool(entries), errors


def _work(res: Resources, lease: Hold, mitigation: Mitigation) -> _Work:
    give_up = time.monotonic() + mitigation.plan.retry_budget.total_seconds()
    return _Work(res=res, lease=lease, mitigation=mitigation, give_up=give_up)


def _side_by_side(jobs: Sequence[Callable[[], R]]) -> list[R]:
    """All are begun and ended, whatever happens to one. Raises Conflict when one lost the lease, else what failed."""
    if len(jobs) <= 1:
        return [job() for job in jobs]
    with ThreadPoolExecutor(max_workers=min(len(jobs), _MOST_AT_ONCE), thread_name_prefix="step") as pool:
        futures = [pool.submit(job) for job in jobs]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if isinstance(error, Conflict) or not isinstance(error, Exception) or len(errors) == 1:
            raise error
    if errors:
        texts = "; ".join(dict.fromkeys(str(error) for error in errors))
        raise StepsFailed(f"{len(errors)} of {len(jobs)} steps failed: {texts}")
    return [future.result() for future in futures]


def _carry_out(work: _Work, position: int) -> None:
    res, mitigation = work.res, work.mitigation
    step = replace(mitigation.plan.steps[position - 1], key=_key(mitigation, position))
    actuator = get_actuator(res, step.actuator)
    entry = _persistently(work, step, lambda attempt: _bring_into_force(work, position, step, attempt))
    try:
        _record(work, entry, JournalState.DONE, f"{actuator.describe(step)}: done and read back")
    except Conflict:
        _take_back_if_undone(work, entry)
        raise


def _key(mitigation: Mitigation, position: int) -> str:
    """The time is part of it: the numbers of mitigations begin anew with a new store, elsewhere they are remembered."""
    return f"{mitigation.id}/{position}@{mitigation.created_at:%Y%m%dT%H%M%SZ}"


def _persistently(work: _Work, step: Step, attempt: Callable[[int], R]) -> R:
    """Try as often as the step allows, with waits of chance that grow, while the plan's budget lasts."""

    def is_over(state: RetryCallState) -> bool:
        return state.attempt_number > step.retries or time.monotonic() + state.upcoming_sleep > work.give_up

    def tell(state: RetryCallState) -> None:
        _tell_failed(work, step, state)

    retrying = Retrying(
        retry=retry_if_exception_type((Unavailable, EffectMissing)),
        stop=is_over,
        wait=wait_random_exponential(multiplier=step.backoff.total_seconds(), max=_LONGEST_WAIT_SECONDS),
        before_sleep=tell,
        reraise=True,
    )
    for one in retrying:
        with one:
            return attempt(one.retry_state.attempt_number)
    raise AssertionError("the last attempt returns or raises")


def _tell_failed(work: _Work, step: Step, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    text = (
        f"{step.action} {step.target}: {error}; tried {state.attempt_number} of {step.retries + 1} times, "
        f"again in {state.upcoming_sleep:.1f} s"
    )
    with work.res.store.writing() as tx:
        now = work.res.clock()
        work.lease.renew(tx, now)
        note(tx, work.mitigation, "effect failed", now=now, by=QUELL, text=text)


def _bring_into_force(work: _Work, position: int, step: Step, attempt: int) -> JournalEntry:
    actuator = get_actuator(work.res, step.actuator)
    entry = _intend(work, position, step, is_told=attempt > 1)
    with kept(work.res, work.lease, step.timeout):
        if not actuator.verify(step):
            actuator.apply(step)
            if not actuator.verify(step):
                raise EffectMissing(f"{step.action} of {step.target} raised no error but is not in force; look at it")
    return entry


def _intend(work: _Work, position: int, step: Step, *, is_told: bool) -> JournalEntry:
    """Commit intent and state before. After a death the first reading of the state before is the one that counts."""
    res, mitigation = work.res, work.mitigation
    id = f"{mitigation.id}/{position}"
    with res.store.reading() as tx:
        known = tx.journal.get(id)
    before = known.state_before if known else get_actuator(res, step.actuator).read_state(step)
    with res.store.writing() as tx:
        now = res.clock()
        work.lease.renew(tx, now)
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
            holder=work.lease.holder,
            intended_at=known.intended_at if known else now,
        )
        tx.journal.put(entry)
        if not is_told:
            known_before = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in before.items())
            text = f"{step.action} {step.target}, state before: {known_before or 'none'}"
            note(tx, mitigation, "effect intended", now=now, by=QUELL, text=text)
    return entry


def _take_back_if_undone(work: _Work, entry: JournalEntry) -> None:
    """We were too slow and lost the lease; if the new holder has undone it all, our late effect must go too."""
    with work.res.store.reading() as tx:
        current = get_mitigation(tx, work.mitigation.id)
    if current.state not in HOLDING_STATES or current.state in (MitigationState.UNDOING, MitigationState.UNDO_FAILED):
        get_actuator(work.res, entry.step.actuator).undo(entry.step, entry.state_before)


def _put_back(work: _Work, entry: JournalEntry) -> str:
    """Undo one step and read it back; the text of what went wrong, empty when it is back."""
    if entry.state is JournalState.UNDONE:
        return ""
    step = entry.step
    _record(work, entry, JournalState.UNDO_INTENDED, f"undo of {step.action} {step.target}")
    try:
        _persistently(work, step, lambda _: _undo(work, entry))
    except Conflict:
        raise
    except Exception as error:  # noqa: BLE001 - the other steps must be undone whatever happened to this one
        kind = "no answer" if isinstance(error, Unavailable) else type(error).__name__
        text = f"{step.action} {step.target}: {kind}: {error}"
        _record(work, entry, JournalState.UNDO_FAILED, text, error=text)
        return text
    said = get_actuator(work.res, step.actuator).describe_undo(step)
    _record(work, entry, JournalState.UNDONE, f"{said}: done and read back")
    return ""


def _undo(work: _Work, entry: JournalEntry) -> None:
    step, before = entry.step, entry.state_before
    actuator = get_actuator(work.res, step.actuator)
    with kept(work.res, work.lease, step.timeout):
        if actuator.verify_undone(step, before):  # whoever died here had done it, or had not come to the effect
            return
        actuator.undo(step, before)
        if not actuator.verify_undone(step, before):
            raise EffectMissing(f"undo of {step.action} {step.target} raised no error, but it is not back")


def _record(work: _Work, entry: JournalEntry, state: JournalState, text: str, *, error: str = "") -> None:
    finished = state not in (JournalState.INTENDED, JournalState.UNDO_INTENDED)
    with work.res.store.writing() as tx:
        now = work.res.clock()
        work.lease.renew(tx, now)
        finished_at = now if finished else None
        tx.journal.put(replace(entry, state=state, holder=work.lease.holder, finished_at=finished_at, error=error))
        kind = f"effect {state.replace('_', ' ')}"
        note(tx, work.mitigation, kind, now=now, by=QUELL, text=text)
