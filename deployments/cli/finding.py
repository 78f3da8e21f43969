"""A finding: what one look at the outside said, for `quell check --live`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether one thing that the configuration names is there, and as it says."""

    part: str  # store, prometheus, haproxy, repository, secrets
    subject: str
    is_ok: bool
    text: str
