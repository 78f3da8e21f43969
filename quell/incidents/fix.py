"""A fix: a reviewed change of configuration that removes the cause, and the guard that would have caught it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from quell.incidents.lifecycle import Move, check_transition


class FixState(StrEnum):
    PROPOSED = "proposed"
    VALIDATED = "validated"
    CANARY = "canary"
    PROMOTED = "promoted"
    REVERTED = "reverted"


_S = FixState
FIX_TRANSITIONS: Mapping[FixState, frozenset[FixState]] = {
    _S.PROPOSED: frozenset({_S.VALIDATED, _S.REVERTED}),
    _S.VALIDATED: frozenset({_S.CANARY, _S.REVERTED}),
    _S.CANARY: frozenset({_S.PROMOTED, _S.REVERTED}),
    _S.PROMOTED: frozenset({_S.REVERTED}),
    _S.REVERTED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """`diff` is what was shown and approved, `fix_commit` what came of it.

    `bad_commit` is what is undone; where values are set instead (`sets`), the commit at which the file was bad.
    """

    id: str
    state: FixState
    incident: str
    service: str
    instance: str | None
    repository: str
    file: str
    bad_commit: str
    diff: str
    created_at: datetime
    updated_at: datetime
    fix_commit: str | None = None
    guard: str | None = None  # the guard's file in the repository
    guard_proof: str = ""  # what the guard said of the bad and of the good file
    canary_result: str = ""
    colour: str = ""  # the backend that gets the fix, of a service in two colours
    pilot: str = ""  # the instance that gets the fix first, of a service whose instances all read the one file
    warm_until: datetime | None = None  # after the switch: until then the other colour stays as it was
    sets: Mapping[str, str] = field(default_factory=dict[str, str])  # key -> new value
    requested_by: str = "quell"
    reason: str = ""  # of the person who asked for it
    approval_deadline: datetime | None = None  # None: nobody has to agree
    approved_by: str = ""
    applying_since: datetime | None = None
    flow_run: str | None = None  # the run that carries it out
    taking_back: str = ""  # why it is being taken back, until git and what runs have followed

    @property
    def undoes(self) -> str:
        """The commit that it takes back; empty where it sets values instead."""
        return "" if self.sets else self.bad_commit

    @property
    def has_followers(self) -> bool:
        """Whether other instances read the same file, and get the fix after the pilot."""
        return bool(self.pilot) and not self.instance

    @property
    def tried_on(self) -> str:
        """What gets the fix before anything else does: an instance, a colour, or the service at once."""
        return self.instance or self.pilot or self.colour or self.service

    @property
    def deed(self) -> str:
        """What it does, in words: a commit that is undone, or a value that is set."""
        if self.sets:
            return ", ".join(f"{key} = {value}" for key, value in self.sets.items())
        return f"the undo of {self.bad_commit[:12]}"


def move_fix(
    fix: Fix, to: FixState, *, now: datetime, by: str, why: str, evidence: Mapping[str, str] | None = None
) -> tuple[Fix, Move]:
    """The fix in its new state, and the entry for its timeline. Raises InvalidTransition."""
    check_transition(f"fix {fix.id}", FIX_TRANSITIONS, fix.state, to)
    move = Move(
        subject=fix.id,
        incident=fix.incident,
        at=now,
        by=by,
        why=why,
        from_state=fix.state,
        to_state=to,
        evidence=evidence or {},
    )
    return replace(fix, state=to, updated_at=now), move
