"""Reminders: who has to be told of a sign-off or an action item that is due, and what is overdue."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from quell.incidents.review import Review
from quell.prevention.guard_standing import GuardStanding

BEFORE = timedelta(days=1)  # the first reminder, before the date
AGAIN = timedelta(days=3)  # between two reminders of what is overdue
_MORNING = time(8, tzinfo=UTC)
SIGN_OFF, ACTION, GUARD = "sign-off", "action item", "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One thing that a review waits for. `who` is the team that signs, or the item's owner; `days` past its date."""

    incident: str
    what: str  # SIGN_OFF, ACTION or GUARD
    subject: str  # the team, the action item's id, or the incident's
    who: str
    due: date
    days: int
    text: str = ""

    @property
    def is_overdue(self) -> bool:
        return self.days > 0

    @property
    def in_words(self) -> str:
        late = f"overdue for {self.days} day{'' if self.days == 1 else 's'}" if self.is_overdue else f"due {self.due}"
        if self.what == SIGN_OFF:
            return f"the sign-off of {self.who} is {late}"
        return f"{self.subject} ({self.text}; {self.who}) is {late}"


def duties_of(review: Review, today: date) -> tuple[Duty, ...]:
    """Everything that is still to be signed or done, the earliest date first."""
    signs = [
        Duty(incident=review.id, what=SIGN_OFF, subject=s.team, who=s.team, due=s.due, days=(today - s.due).days)
        for s in review.sign_offs
        if not s.person
    ]
    items = [
        Duty(
            incident=review.id,
            what=ACTION,
            subject=item.id,
            who=item.owner,
            text=item.text,
            due=item.due,
            days=(today - item.due).days,
        )
        for item in review.open_actions
    ]
    return tuple(sorted([*signs, *items], key=lambda duty: (duty.due, duty.what != SIGN_OFF, duty.subject)))


def guard_duty(review: Review, guards: GuardStanding, today: date) -> Duty | None:
    """The guard that is still missing, or not accepted, when everybody shall have signed; None where nobody has to."""
    section, dates = review.section("guards"), [sign_off.due for sign_off in review.sign_offs]
    if not dates or review.guard_waiver is not None or guards.is_accepted:
        return None
    return Duty(
        incident=review.id,
        what=GUARD,
        subject=review.id,
        who=section.assignee if section else "",
        text=guards.to_do,
        due=max(dates),
        days=(today - max(dates)).days,
    )


def guard_subject(incident: str) -> str:
    """What an entry about the guard of an incident is about."""
    return f"{incident}/{GUARD}"


def overdue_of(duties: Iterable[Duty]) -> tuple[Duty, ...]:
    """What is past its date, the longest first."""
    found = [duty for duty in duties if duty.is_overdue]
    return tuple(sorted(found, key=lambda duty: (-duty.days, duty.incident, duty.subject)))


def is_still_open(review: Review, subject: str) -> bool:
    """Whether what a reminder is about (`INC-1/sign-off/shop`, `INC-1/A2`) still waits."""
    item = review.action(subject)
    if item is not None:
        return item.done_at is None
    _, is_sign_off, team = subject.partition(f"/{SIGN_OFF}/")
    sign_off = review.sign_off(team) if is_sign_off else None
    return sign_off is None or not sign_off.person


def is_reminder_due(due: date, reminded_at: datetime | None, now: datetime) -> bool:
    """The day before, the day after, then every third day: in the morning, since none of it is worth a night.

    >>> at = datetime(2026, 11, 26, 9, tzinfo=UTC)
    >>> is_reminder_due(date(2026, 11, 27), None, at), is_reminder_due(date(2026, 11, 28), None, at)
    (True, False)
    """
    first, overdue = _morning(due) - BEFORE, _morning(due) + timedelta(days=1)
    if reminded_at is None:
        return now >= first
    if reminded_at < overdue:
        return now >= overdue
    return now >= reminded_at + AGAIN


def _morning(day: date) -> datetime:
    return datetime.combine(day, _MORNING)
