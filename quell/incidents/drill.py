"""A drill: one fault on purpose in a sandbox, and what the whole life of its incident came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

DRILL = "drill"  # the kind of document that keeps one


class Mark(StrEnum):
    """How one part of a drill went; `not asked` where the fault has no answer to it."""

    YES = "yes"
    NO = "no"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What is broken: `target` is an instance, client or service, empty where everything is meant."""

    fault: str
    kind: str  # instance, client, service or empty: what the target is
    target: str
    parameters: Mapping[str, str | float | bool] = field(default_factory=dict[str, str | float | bool])

    @property
    def words(self) -> str:
        return f"{self.fault} on {self.target}" if self.target else self.fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One row of the scorecard: its mark, the seconds since the fault where there is a moment, and the evidence."""

    mark: Mark
    seconds: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """`parts` are by name: detected, grouped, suspect, contained, harmless, undone, resolved."""

    id: str
    strike: Strike
    began_at: datetime
    ended_at: datetime
    by: str
    incident: str | None
    aborted: str  # why it was ended early; empty where it was not
    parts: Mapping[str, Part]

    @property
    def is_passed(self) -> bool:
        return not self.aborted and all(part.mark is not Mark.NO for part in self.parts.values())

    @property
    def sentence(self) -> str:
        """What a run's state and a list say."""
        if self.aborted:
            return f"{self.id}, {self.strike.words}: aborted, {self.aborted}"
        failed = [name for name, part in self.parts.items() if part.mark is Mark.NO]
        said = f"not {', '.join(failed)}" if failed else "passed"
        return f"{self.id}, {self.strike.words}: {said}"
