"""Where an incident stands with its guards: none, proven but not accepted, or accepted by a person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quell.incidents.fix import Fix, FixState
from quell.incidents.guard_record import ACCEPTED, GuardRecord

NO_GUARD = "there is no guard that would have caught it"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStanding:
    """The guards in force with a promoted fix (or written by people): those accepted, and those that still wait.

    `proven` names what promoted fixes brought; a fix of an older store may have no record of its guards, and what
    nobody is on record for is not accepted.
    """

    accepted: tuple[GuardRecord, ...] = ()
    waiting: tuple[GuardRecord, ...] = ()
    proven: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        return bool(self.accepted)

    @property
    def names(self) -> tuple[str, ...]:
        """What a person would accept now, by name."""
        return tuple(record.name for record in self.waiting) or self.proven

    @property
    def lacks(self) -> str:
        """What is missing, and what to do; empty where a person has accepted a guard."""
        if self.is_accepted:
            return ""
        if self.names:
            return f"guard {', '.join(self.names)} is proven, but nobody has accepted it: `quell guard accept`"
        return NO_GUARD

    @property
    def to_do(self) -> str:
        """The same as a duty."""
        if not self.names:
            return "write a guard, or waive it with a reason"
        return f"accept guard {', '.join(self.names)}, or waive it with a reason"


def guard_standing(fixes: Sequence[Fix], records: Iterable[GuardRecord]) -> GuardStanding:
    """A fix that was taken back took its guards with it, and one that is not promoted has not brought them yet."""
    promoted = {fix.id for fix in fixes if fix.state is FixState.PROMOTED and fix.guard_proof}
    in_force = [record for record in records if not record.fix or record.fix in promoted]
    return GuardStanding(
        accepted=tuple(record for record in in_force if record.state == ACCEPTED),
        waiting=tuple(record for record in in_force if record.state != ACCEPTED),
        proven=tuple(fix.guard for fix in fixes if fix.id in promoted and fix.guard),
    )
