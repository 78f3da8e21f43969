"""What a person can do to a post-mortem, and what each of it needs to be told."""

from dataclasses import dataclass
from enum import StrEnum

from quell.incidents.decision import Person

_VIEWER = "viewer"


class ReviewAct(StrEnum):
    EDIT = "edit"  # a section
    TAKE_DRAFT = "take-draft"  # a section, from the record again
    ASSIGN = "assign"
    COMMENT = "comment"
    SIGN = "sign"
    WITHDRAW = "withdraw"
    WAIVE = "waive-guard"
    CLOSE = "close"
    ADD_ACTION = "add-action"
    CHANGE_ACTION = "change-action"
    FINISH_ACTION = "finish-action"
    REOPEN_ACTION = "reopen-action"
    EXPORT = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewDetails:
    """`subject` is a section, a team or an action item; `version` is what the person saw: of a section, of an item, or
    (for a signature) the edition. `text` is the text, comment or reason, `owner` also whom a section is assigned to.
    """

    subject: str = ""
    text: str = ""
    owner: str = ""
    due: str = ""
    version: int = 0


NO_REVIEW_DETAILS = ReviewDetails()


def may_review(person: Person) -> bool:
    """Whoever may do anything may work on a post-mortem; a viewer reads."""
    return bool(set(person.roles) - {_VIEWER})
