"""How a record changes state: a table says what is allowed, and every move leaves a timeline entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from quell.incidents.errors import InvalidTransition

Transitions = Mapping[Any, frozenset[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of state, as it goes on the timeline: who, when, why, from, to, evidence."""

    subject: str
    incident: str | None
    at: datetime
    by: str
    why: str
    from_state: str
    to_state: str
    evidence: Mapping[str, str] = field(default_factory=dict[str, str])


def check_transition(subject: str, table: Transitions, old: StrEnum, new: StrEnum) -> None:
    """Raise InvalidTransition unless the table allows `old` -> `new`; the text lists what is allowed."""
    allowed = table[old]
    if new not in allowed:
        names = ", ".join(sorted(allowed)) or "nothing (final)"
        raise InvalidTransition(f"{subject} is {old} and cannot become {new}; from {old} it can become: {names}")
