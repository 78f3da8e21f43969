"""Reconciliation: what a mitigation needs when nobody is working on it any more."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from quell.incidents.decision import Answer
from quell.incidents.journal import Lease
from quell.incidents.mitigation import Mitigation, MitigationState

GRACE = timedelta(seconds=20)  # the time in which the process that made the last move is expected to make the next


class Action(StrEnum):
    APPLY = "apply"
    JUDGE = "judge"
    UNDO = "undo"
    RELEASE = "release"
    EASE = "ease"
    REFUSE = "refuse"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    action: Action
    why: str


def need_of(mitigation: Mitigation, *, answer: Answer | None, lease: Lease | None, now: datetime) -> Need | None:
    """What shall be done about the mitigation now; None when it is at rest or somebody still holds it."""
    if lease is not None and lease.is_held(now):
        return None
    return _due(mitigation, answer, now) or (_abandoned(mitigation, answer) if is_left(mitigation, now) else None)


def is_left(mitigation: Mitigation, now: datetime) -> bool:
    """Whether the next move should have come by now; a last move in the future was made by a clock that was wrong."""
    return abs(now - mitigation.updated_at) >= GRACE


def _due(mitigation: Mitigation, answer: Answer | None, now: datetime) -> Need | None:
    """What has a time of its own, whoever is alive."""
    state, deadline, expires_at = mitigation.state, mitigation.approval_deadline, mitigation.expires_at
    if state is MitigationState.AWAITING_APPROVAL and answer is None and deadline and deadline <= now:
        return Need(action=Action.EXPIRE, why=f"nobody decided until {deadline:%H:%M:%S} UTC; a person has to look")
    held = (MitigationState.EFFECTIVE, MitigationState.APPLIED)
    if state in held and expires_at is not None and expires_at <= now:
        return Need(action=Action.RELEASE, why=f"it expired at {expires_at:%H:%M:%S} UTC")
    if is_easing(mitigation):
        return Need(action=Action.EASE, why="it comes back a little at a time")
    return None


def is_easing(mitigation: Mitigation) -> bool:
    """Whether it is being released a little at a time."""
    return mitigation.state is MitigationState.UNDOING and mitigation.eased_to is not None


def _abandoned(mitigation: Mitigation, answer: Answer | None) -> Need | None:
    match mitigation.state:
        case MitigationState.PLANNED | MitigationState.APPLYING:
            return Need(action=Action.APPLY, why="the process that should apply it is gone")
        case MitigationState.AWAITING_APPROVAL if answer is Answer.APPROVE:
            return Need(action=Action.APPLY, why="it was approved and the run that should apply it is gone")
        case MitigationState.AWAITING_APPROVAL if answer is Answer.REFUSE:
            return Need(action=Action.REFUSE, why="it was refused")
        case MitigationState.APPLIED:
            return Need(action=Action.JUDGE, why="the process that should judge it is gone")
        case MitigationState.INEFFECTIVE | MitigationState.INCONCLUSIVE:
            return Need(action=Action.UNDO, why=f"it was {mitigation.state}: {mitigation.recovery_reason}")
        case MitigationState.UNDOING | MitigationState.UNDO_FAILED:
            return Need(action=Action.UNDO, why="the undo before this one did not finish")
        case _:
            return None
