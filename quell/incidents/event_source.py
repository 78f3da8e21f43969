"""Who may tell Quell of events: a named source, what it may send, and how it proves that it is the one."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class EventKind(StrEnum):
    ALERTS = "alerts"
    CHANGES = "changes"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """A sender. It shows one of its tokens, or signs, or both where both are configured.

    `tokens` are `sha256:HEX`, or references (env:NAME, file:PATH) to where such a hash stands; the tokens themselves
    are with the sender only. `signing_secret` is a reference as well.
    """

    name: str
    may_send: frozenset[EventKind]
    tokens: tuple[str, ...] = field(default=(), repr=False)
    signing_secret: str | None = None
    tolerance: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLimits:
    """How many reports a minute are taken; more are answered with 429 and Retry-After."""

    is_form_open: bool = True
    per_address: int = 10
    overall: int = 120
