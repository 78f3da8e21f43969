"""Overdue: signatures, guards and action items of post-mortems whose day has passed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from quell.incidents.review import Review
from quell.prevention.guard_standing import GuardStanding
from quell.prevention.reminder import guard_duty
from quell.prevention.weekly.figure import Behind, BehindKind, Figure, Unit
from quell.prevention.weekly.section import Row, Section, slug, unique


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    incident: str
    what: str
    who: str
    due: date


def find_overdue(
    reviews: Iterable[Review], today: date, guards: Mapping[str, GuardStanding] | None = None
) -> tuple[Overdue, ...]:
    """The longest overdue first. `guards`: of the incidents that are not closed."""
    found: list[Overdue] = []
    for review in reviews:
        found += [
            Overdue(incident=review.id, what="sign-off", who=sign_off.team, due=sign_off.due)
            for sign_off in review.sign_offs
            if sign_off.at is None and sign_off.due < today
        ]
        found += [
            Overdue(incident=review.id, what=item.text, who=item.owner, due=item.due)
            for item in review.action_items
            if item.done_at is None and item.due < today
        ]
        standing = (guards or {}).get(review.id)
        if standing is not None and (duty := guard_duty(review, standing, today)) is not None and duty.is_overdue:
            found.append(Overdue(incident=review.id, what=duty.text, who=duty.who, due=duty.due))
    return tuple(sorted(found, key=lambda one: (one.due, one.incident, one.what)))


def overdue_section(overdue: Iterable[Overdue], today: date) -> Section:
    return Section(
        key="overdue",
        title="Overdue after post-mortems",
        columns=("who", "what", "days overdue"),
        rows=unique(_row(one, today) for one in overdue),
        empty="No signature, no guard and no action item is overdue.",
    )


def _row(one: Overdue, today: date) -> Row:
    days = Figure(
        key=f"overdue/{slug(one.incident, one.who, one.what[:40])}",
        name=f"days overdue, {one.what} of {one.who}",
        unit=Unit.COUNT,
        value=float((today - one.due).days),
        n=1,
        behind=(Behind(kind=BehindKind.REVIEW, id=one.incident, incident=one.incident),),
    )
    return Row(name=one.incident, cells=(one.who, one.what, days))
