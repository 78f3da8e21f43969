"""A report: a user says that something is wrong."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`sender` is the gateway's mark of where it came from, never an address itself: of a visitor's address, or
    `SOURCE:` and a mark of whom that source names. A report that says what another of its incident says already is
    `part_of` that one, which counts it in `copies`.
    """

    id: str
    text: str
    service: str | None = None
    reporter: str = ""
    at: datetime
    incident: str | None = None
    sender: str = ""
    part_of: str | None = None
    copies: int = 0


def is_of_address(sender: str) -> bool:
    """Whether the mark is of an address, which costs something to change; a name that a source passes on does not."""
    return bool(sender) and ":" not in sender
