"""The round of reviews: reminds, exports what was asked for, takes up what the record has learned since, and closes."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime

from quell.incidents.errors import QuellError
from quell.incidents.incident import IncidentState
from quell.incidents.review import Review
from quell.ports import Transaction
from quell.prevention.action_item import with_item
from quell.prevention.reminder import ACTION, GUARD, Duty, duties_of, guard_subject, is_reminder_due
from quell.prevention.sign_off import missing_to_close, sign_off_subject
from tasks.guard_standing import standing_of, standings_of, take_up_acceptances
from tasks.record import QUELL
from tasks.resources import Resources
from tasks.review import write_review_of
from tasks.review_export import can_export, export_action, is_export_due
from tasks.review_overdue import guard_duties
from tasks.review_record import addressee, close_if_complete, get_review, keep_review, note, open_reviews

_LOG = logging.getLogger("quell.reviews")
_EVERY_SECONDS = 60.0
_LOOKED_AT = 200  # reviewed incidents, the latest first: what nobody signs for a year must not make rounds slow


def review_round(res: Resources) -> list[str]:
    """Give every open review what it needs; a sentence for each. Trouble with one keeps no other from its turn."""
    said = [*_remind_all(res), *_catch_up(res)]
    return [*said, *(_export_all(res) if can_export(res) else ())]


def _remind_all(res: Resources) -> list[str]:
    with res.store.reading() as tx:
        now = res.clock()
        due = {review.id: review for review in open_reviews(tx) if _due(review, duties_of(review, now.date()), now)}
        for duty in guard_duties(tx, now.date()):
            review = get_review(tx, duty.incident)
            if _due(review, [duty], now):
                due[review.id] = review
    said: list[str] = []
    for id in due:
        with res.store.writing() as tx:
            said += _remind(tx, res, get_review(tx, id), res.clock())
    return said


def _due(review: Review, duties: Iterable[Duty], now: datetime) -> list[Duty]:
    return [duty for duty in duties if is_reminder_due(duty.due, _reminded_at(review, duty), now)]


def _duties(tx: Transaction, review: Review, today: date) -> list[Duty]:
    return [*duties_of(review, today), *guard_duties(tx, today, only=review.id)]


def _reminded_at(review: Review, duty: Duty) -> datetime | None:
    if duty.what == GUARD:
        return review.guard_reminded_at
    found = review.action(duty.subject) if duty.what == ACTION else review.sign_off(duty.subject)
    return found.reminded_at if found else None


def _remind(tx: Transaction, res: Resources, review: Review, now: datetime) -> list[str]:
    """The marks and the entries are one transaction: whoever dies in between reminds nobody twice, and nobody never."""
    said: list[str] = []
    for duty in _due(review, _duties(tx, review, now.date()), now):
        subject = _subject(review, duty)
        whom = addressee(res, duty.who)
        note(tx, review.id, "review reminder", by=QUELL, text=duty.in_words, subject=subject, now=now, evidence=whom)
        review = _marked(review, duty, now)
        said.append(f"{review.id}: {duty.in_words}")
    keep_review(tx, review)
    return said


def _subject(review: Review, duty: Duty) -> str:
    if duty.what == GUARD:
        return guard_subject(review.id)
    return duty.subject if duty.what == ACTION else sign_off_subject(review, duty.subject)


def _marked(review: Review, duty: Duty, now: datetime) -> Review:
    if duty.what == GUARD:
        return replace(review, guard_reminded_at=now)
    if duty.what == ACTION:
        item = review.action(duty.subject)
        return with_item(review, replace(item, reminded_at=now)) if item else review
    marked = (replace(s, reminded_at=now) if s.team == duty.subject else s for s in review.sign_offs)
    return replace(review, sign_offs=tuple(marked))


def _catch_up(res: Resources) -> list[str]:
    """Reviewed incidents whose fixes or thresholds have changed are written anew; complete ones are closed."""
    with res.store.reading() as tx:
        where = {"state": IncidentState.REVIEWED}
        found = tx.incidents.find(where, order="updated_at", descending=True, limit=_LOOKED_AT)
        reviews = [review for incident in found if (review := tx.reviews.get(incident.id)) is not None]
        behind = [review.id for review in reviews if _is_behind(tx, review)]
        standings = standings_of(tx, [review.id for review in reviews])
    said = take_up_acceptances(res, (record for one in standings.values() for record in one.waiting))
    with res.store.reading() as tx:
        complete = [review.id for review in reviews if not missing_to_close(review, standing_of(tx, review.id))]
    for id in behind:
        try:
            write_review_of(res, id)
            said.append(f"{id}: the post-mortem has taken up what changed")
        except QuellError as error:
            _LOG.warning("the post-mortem of %s could not be written anew: %s", id, error)
    for id in complete:
        with res.store.writing() as tx:
            closed = close_if_complete(tx, get_review(tx, id), by=QUELL, now=res.clock())
        if closed.state is IncidentState.CLOSED:
            said.append(f"{id} is closed")
    return said


def _is_behind(tx: Transaction, review: Review) -> bool:
    where = {"incident": review.id}
    changed = [*tx.fixes.find(where), *tx.thresholds.find(where)]
    return bool(review.sections) and any(record.updated_at > review.written_at for record in changed)


def _export_all(res: Resources) -> list[str]:
    with res.store.reading() as tx:
        due = [
            (review.id, item.id)
            for review in open_reviews(tx)
            for item in review.action_items
            if is_export_due(res, item)
        ]
    said: list[str] = []
    for incident, item in due:
        try:
            said.append(export_action(res, incident, item))
        except QuellError as error:
            _LOG.warning("%s could not be exported: %s", item, error)
    return said


def run_reviews(res: Resources, stopping: threading.Event) -> None:
    """Rounds until `stopping`; trouble is logged and tried again in the next one."""
    while not stopping.is_set():
        try:
            for sentence in review_round(res):
                _LOG.info("%s", sentence)
        except Exception as error:  # noqa: BLE001 - a thread that dies would be silence
            _LOG.warning("reviews wait: %s", error)
        stopping.wait(_EVERY_SECONDS)
