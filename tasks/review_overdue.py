"""What is overdue in all reviews: for the weekly report, the pages and the command line."""

from collections.abc import Iterator
from datetime import date

from quell.incidents.incident import IncidentState
from quell.ports import Transaction
from quell.prevention.reminder import Duty, duties_of, guard_duty, overdue_of
from tasks.guard_standing import standings_of
from tasks.resources import Resources
from tasks.review_record import open_reviews


def list_overdue(tx: Transaction, today: date) -> tuple[Duty, ...]:
    """Sign-offs, action items and guards (missing, or not accepted) past their date, the longest first; `days` is by
    how much."""
    return overdue_of(_duties(tx, today))


def list_duties(tx: Transaction, today: date) -> tuple[Duty, ...]:
    """Everything that reviews wait for, the earliest date first."""
    return tuple(sorted(_duties(tx, today), key=lambda duty: (duty.due, duty.incident)))


def read_duties(res: Resources) -> tuple[Duty, ...]:
    with res.store.reading() as tx:
        return list_duties(tx, res.clock().date())


def _duties(tx: Transaction, today: date) -> Iterator[Duty]:
    for review in open_reviews(tx):
        yield from duties_of(review, today)
    yield from guard_duties(tx, today)


def guard_duties(tx: Transaction, today: date, *, only: str | None = None) -> Iterator[Duty]:
    """Of every reviewed incident, or of one: the guard that nobody has written, or accepted, or waived."""
    found = tx.incidents.find({"state": IncidentState.REVIEWED})
    reviewed = [incident.id for incident in found if only in (None, incident.id)]
    for id, standing in standings_of(tx, reviewed).items():
        review = tx.reviews.get(id)
        if review is not None and (duty := guard_duty(review, standing, today)) is not None:
            yield duty
