"""A footprint: where an incident, or an alert that inhibits others, was seen.

It is the index by which triage finds what a new alert is related to without reading all that is open.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """`key` is `service:checkout`, `instance:checkout-2`, ...; `owner` is the incident or the alert."""

    id: str
    key: str
    owner: str
    at: datetime


def footprint(key: str, owner: str, at: datetime) -> Footprint:
    """The one footprint of an owner under a key, however often it steps there."""
    return Footprint(id=f"{owner} {key}", key=key, owner=owner, at=at)
