"""The record of a review: every change of it with its entry on the timeline, in one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from quell.incidents.errors import NotFound
from quell.incidents.incident import Incident, IncidentState, move_incident
from quell.incidents.review import Review
from quell.incidents.timeline import Event, event_of
from quell.ports import Document, Transaction
from quell.prevention.postmortem import compose
from quell.prevention.review_edit import Edit
from quell.prevention.sign_off import missing_to_close, sign_off_subject, why_closed
from tasks.guard_standing import standing_of
from tasks.record import QUELL, get_incident
from tasks.resources import Resources

OPEN_REVIEW = "open-review"  # documents that name reviews with something left to sign or to do


def get_review(tx: Transaction, incident_id: str) -> Review:
    get_incident(tx, incident_id)
    review = tx.reviews.get(incident_id)
    if review is None:
        raise NotFound(f"{incident_id} has no post-mortem yet: it is written once the incident is resolved")
    return review


def keep_review(tx: Transaction, review: Review) -> Review:
    """Store it with its markdown as of now, and note whether something is left to do."""
    review = replace(review, markdown=compose(review)) if review.sections else review
    tx.reviews.put(review)
    key = f"{OPEN_REVIEW}:{review.id}"
    if review.is_settled:
        tx.documents.delete(key)
    elif tx.documents.get(key) is None:
        tx.documents.put(Document(id=key, kind=OPEN_REVIEW, updated_at=review.written_at, body={"incident": review.id}))
    return review


def keep_edit(tx: Transaction, edit: Edit, *, by: str, now: datetime) -> Review:
    """Store what an edit made of the review, with who did it and when on the timeline."""
    note(tx, edit.review.id, edit.kind, by=by, text=edit.text, subject=edit.subject, now=now, evidence=edit.evidence)
    return ask_teams(tx, keep_review(tx, edit.review), now)


def note(
    tx: Transaction,
    incident: str,
    kind: str,
    *,
    by: str,
    text: str,
    subject: str,
    now: datetime,
    evidence: Mapping[str, str] | None = None,
) -> None:
    tx.timeline.append(
        Event(incident=incident, at=now, kind=kind, by=by, text=text, subject=subject, evidence=evidence or {})
    )


def ask_teams(tx: Transaction, review: Review, now: datetime) -> Review:
    """Say once to every team that it shall sign; the notification follows from the entry."""
    waiting = [s for s in review.sign_offs if not s.person and s.asked_at is None]
    if not waiting:
        return review
    for asked in waiting:
        text = f"team {asked.team} is asked to read and sign the post-mortem until {asked.due}"
        subject = sign_off_subject(review, asked.team)
        note(
            tx, review.id, "review asked", by=QUELL, text=text, subject=subject, now=now, evidence={"team": asked.team}
        )
    sign_offs = tuple(replace(s, asked_at=now) if s in waiting else s for s in review.sign_offs)
    return keep_review(tx, replace(review, sign_offs=sign_offs))


def addressee(res: Resources, owner: str) -> Mapping[str, str]:
    """Whom a notification is for: the person, where it is one, and the team by which it is routed otherwise."""
    person = res.config.people.get(owner)
    return {"team": person.team, "person": person.name} if person else {"team": owner}


def open_reviews(tx: Transaction) -> list[Review]:
    """Reviews with something left to sign or to do, also of closed incidents. Of one whose trouble is back nobody is
    asked anything."""
    ids = [str(document.body["incident"]) for document in tx.documents.find({"kind": OPEN_REVIEW})]
    over = [id for id in ids if (incident := tx.incidents.get(id)) is not None and not incident.is_active]
    return [review for id in over if (review := tx.reviews.get(id)) is not None]


def close_if_complete(tx: Transaction, review: Review, *, by: str, now: datetime) -> Incident:
    """REVIEWED becomes CLOSED once every team has signed and a person accepted a guard, or waived it."""
    incident, guards = get_incident(tx, review.id), standing_of(tx, review.id)
    if incident.state is not IncidentState.REVIEWED or missing_to_close(review, guards):
        return incident
    why = why_closed(review, guards)
    closed, step = move_incident(incident, IncidentState.CLOSED, now=now, by=by, why=why)
    tx.incidents.put(closed)
    tx.timeline.append(event_of(step))
    return closed
