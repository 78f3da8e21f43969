"""What `quell check --live` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look at the outside said."""

    part: str  # store, prometheus, haproxy, repository, secrets
    subject: str
    is_ok: bool
    text: str
