"""A review: the post-mortem of an incident, its sign-offs and its action items."""

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    team: str
    due: date
    person: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionItem:
    id: str
    text: str
    owner: str
    due: date
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """`id` is the incident's id: an incident has one review, rewritten until it is signed."""

    id: str
    markdown: str
    written_at: datetime
    sign_offs: tuple[SignOff, ...] = ()
    action_items: tuple[ActionItem, ...] = ()
