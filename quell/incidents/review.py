"""A review: the post-mortem of an incident, its sections, comments, sign-offs and action items."""

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """`edition` is the edition of the post-mortem that was signed; `asked_at` and `reminded_at` say when the team was
    told that it shall sign, and last reminded."""

    team: str
    due: date
    person: str | None = None
    at: datetime | None = None
    comment: str = ""
    edition: int = 0
    asked_at: datetime | None = None
    reminded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """That an action item shall become an issue elsewhere: asked for, then done once `url` or `done_at` is there."""

    wanted_at: datetime
    wanted_by: str
    done_at: datetime | None = None
    url: str = ""
    problem: str = ""  # why the last attempt failed
    tried_at: datetime | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionItem:
    """`owner` is a person or a team; `version` rises with every edit, so that two edits at once show.

    `planned` is the text with which the record called for it; empty where a person added it.
    """

    id: str
    text: str
    owner: str
    due: date
    done_at: datetime | None = None
    done_by: str = ""
    version: int = 1
    planned: str = ""
    added_by: str = ""
    edited_by: str = ""
    export: Export | None = None
    reminded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a post-mortem. `text` is the record's, until people write: then `draft` is what the record says.

    `is_record` sections always say what the record says. `edited_by` is empty while nobody has changed it; `has_news`:
    the record has come to say something else since then.
    """

    id: str
    title: str
    text: str
    draft: str = ""
    is_record: bool = False
    assignee: str = ""  # a team or a person
    version: int = 1
    edited_by: str = ""
    edited_at: datetime | None = None
    has_news: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    id: str
    section: str
    by: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardWaiver:
    """A person's word, with the reason, that this incident is closed without a guard."""

    by: str
    at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """`id` is the incident's id: an incident has one review, rewritten until it is signed.

    `edition` rises with every edit of a section: a signature is for one edition. `reopened` is how often the incident
    had been reopened when it was written: what was signed before that does not count.
    """

    id: str
    markdown: str
    written_at: datetime
    sign_offs: tuple[SignOff, ...] = ()
    action_items: tuple[ActionItem, ...] = ()
    title: str = ""
    sections: tuple[Section, ...] = ()
    comments: tuple[Comment, ...] = ()
    guard_waiver: GuardWaiver | None = None
    edition: int = 1
    reopened: int = 0
    next_action: int = 1
    guard_reminded_at: datetime | None = None

    def section(self, id: str) -> Section | None:
        return next((section for section in self.sections if section.id == id), None)

    def action(self, id: str) -> ActionItem | None:
        return next((item for item in self.action_items if item.id == id), None)

    def sign_off(self, team: str) -> SignOff | None:
        return next((sign_off for sign_off in self.sign_offs if sign_off.team == team), None)

    @property
    def is_signed(self) -> bool:
        return all(sign_off.person for sign_off in self.sign_offs)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to sign, to do or to export."""
        exports = (item.export for item in self.action_items if item.export is not None)
        return self.is_signed and not self.open_actions and all(export.done_at for export in exports)

    @property
    def open_actions(self) -> tuple[ActionItem, ...]:
        return tuple(item for item in self.action_items if item.done_at is None)
