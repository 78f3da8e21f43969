"""What is overdue in all reviews: for the weekly report, the pages and the command line."""

from datetime import date

from quell.ports import Transaction
from quell.prevention.reminder import Duty, duties_of, overdue_of
from tasks.review_record import open_reviews


def list_overdue(tx: Transaction, today: date) -> tuple[Duty, ...]:
    """Sign-offs and action items past their date, the longest first; `days` is by how much."""
    return overdue_of(open_reviews(tx), today)


def list_duties(tx: Transaction, today: date) -> tuple[Duty, ...]:
    """Everything that reviews wait for, the earliest date first."""
    found = [duty for review in open_reviews(tx) for duty in duties_of(review, today)]
    return tuple(sorted(found, key=lambda duty: (duty.due, duty.incident)))
