"""Notifications into the outbox: derived from the timeline, whoever wrote there, each once for each receiver."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quell.incidents.incident import Incident
from quell.incidents.notification import (
    MITIGATION_KINDS,
    TOLD_STATES,
    Notification,
    NotificationKind,
    NotificationState,
    move_notification,
)
from quell.incidents.timeline import NO_INCIDENT, TimelineEntry
from quell.ports import Document, Transaction
from quell.response.escalation import escalation_receivers, person_receiver, person_told
from quell.response.playbook import NotificationRule
from quell.triage.notification_cause import REVEALING, Cause, cause_of, routing_labels
from quell.triage.notification_route import find_receivers
from tasks.notify_facts import opening_alert, team_of
from tasks.reports import contacts_of
from tasks.resources import Resources

CURSOR = "notify:cursor"  # the document that says how far the timeline was read
REPORTERS = "reporters"  # the receiver of messages to authors of reports
_READ_AT_ONCE = 500
# What was written longer ago was not heard of because nobody listened: only what still matters is told.
_STALE = timedelta(hours=1)
_LASTING = frozenset(
    {
        NotificationKind.OPENED,
        NotificationKind.SWEEPS_STOPPED,
        NotificationKind.APPROVAL,
        NotificationKind.ESCALATION,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One entry of the timeline with what belongs to it."""

    entry: TimelineEntry
    incident: Incident | None
    alertname: str


def queue_due(res: Resources) -> int:
    """Read on in the timeline and queue what it calls for; returns how many notifications are new.

    The place in the timeline moves in the transaction that queues: whoever dies in between leaves both as they were.
    """
    notifying = res.config.notifying
    if not notifying.receivers and notifying.reporters is None and notifying.people is None:
        return 0
    queued = 0
    while True:
        with res.store.reading() as tx:
            if tx.timeline.written() <= _place(tx):
                return queued
        with res.store.writing() as tx:
            entries = tx.timeline.entries(after_id=_place(tx), limit=_READ_AT_ONCE)
            if not entries:
                return queued
            queued += _queue(tx, res, entries)
            body = {"entry": entries[-1].id}
            tx.documents.put(Document(id=CURSOR, kind="notify", updated_at=res.clock(), body=body))


def _place(tx: Transaction) -> int:
    document = tx.documents.get(CURSOR)
    return int(document.body["entry"]) if document else 0


def _queue(tx: Transaction, res: Resources, entries: Sequence[TimelineEntry]) -> int:
    now, queued = res.clock(), 0
    for entry in entries:
        reading = _read(tx, entry)
        cause = cause_of(entry, incident=reading.incident, alertname=reading.alertname, wait=res.config.notifying.wait)
        if cause is not None:
            queued += sum(_add(tx, each) for each in _notifications(tx, res, reading, cause, now))
    for incident in dict.fromkeys(entry.incident for entry in entries if entry.kind in REVEALING):
        _look_again(tx, incident, now)
    return queued


def _read(tx: Transaction, entry: TimelineEntry) -> _Reading:
    incident = None if entry.incident == NO_INCIDENT else tx.incidents.get(entry.incident)
    alert = opening_alert(tx, incident.id) if incident else None
    return _Reading(entry=entry, incident=incident, alertname=alert.name if alert else "")


def _notifications(
    tx: Transaction, res: Resources, reading: _Reading, cause: Cause, now: datetime
) -> Iterable[Notification]:
    incident, entry = reading.incident, reading.entry
    for name in _receivers(tx, res, reading, cause):
        if not _is_stale(tx, reading, cause, name, now):
            yield _queued(cause, name, entry.at, now)
    if cause.kind is NotificationKind.RESOLVED and incident and res.config.notifying.reporters:
        for contact in contacts_of(tx, incident.id, limit=res.config.notifying.reporters.most_per_incident):
            yield Notification(
                id=f"{REPORTERS}/{contact}",
                state=NotificationState.QUEUED,
                kind=NotificationKind.REPORTER,
                receiver=REPORTERS,
                incident=incident.id,
                subject=contact,
                cause=cause.text,
                created_at=entry.at,
                updated_at=now,
                due_at=now,
            )


def _receivers(tx: Transaction, res: Resources, reading: _Reading, cause: Cause) -> Sequence[str]:
    """By the routes and the playbook; an escalation goes to whom the playbook names, which stands on its entry.

    What a review asks of one person goes to that person, where people can be told; what it asks of a team is routed as
    that team's.
    """
    evidence, incident = reading.entry.evidence, reading.incident
    if cause.kind is NotificationKind.ESCALATION:
        return evidence.get("to", "").splitlines()
    rule = _rule(tx, res, cause)
    asked = cause.kind in rule.kinds
    if cause.kind in MITIGATION_KINDS and not asked:
        return ()
    named = escalation_receivers(rule.to, res.config.notifying.receivers, res.config.people) if asked else ()
    if cause.kind in MITIGATION_KINDS and rule.to:
        return named
    team = team_of(res, incident.service) if incident else ""
    if cause.kind is NotificationKind.REVIEW:
        person = person_receiver(evidence.get("person", ""))
        if res.config.notifying.people is not None and person_told(res.config.people, person) is not None:
            return (person,)
        team = evidence.get("team", team)
    labels = routing_labels(incident, cause.kind, team=team, alertname=reading.alertname)
    return tuple(dict.fromkeys((*find_receivers(res.config.notifying.routes, labels), *named)))


def _rule(tx: Transaction, res: Resources, cause: Cause) -> NotificationRule:
    """What the playbook says about telling: that of the mitigation, or the one that pages."""
    mitigation = None if cause.kind is NotificationKind.PAGE else tx.mitigations.get(cause.subject)
    playbook = res.config.playbooks.get(mitigation.playbook if mitigation else cause.subject)
    return playbook.notification if playbook else NotificationRule()


def _queued(cause: Cause, receiver: str, at: datetime, now: datetime) -> Notification:
    return Notification(
        id=cause.key(receiver),
        state=NotificationState.QUEUED,
        kind=cause.kind,
        receiver=receiver,
        incident=cause.incident,
        subject=cause.subject,
        cause=cause.text,
        created_at=at,
        updated_at=now,
        due_at=at + cause.wait,
    )


def _is_stale(tx: Transaction, reading: _Reading, cause: Cause, receiver: str, now: datetime) -> bool:
    if now - reading.entry.at <= _STALE or cause.kind in (NotificationKind.UNDO_FAILED, NotificationKind.REVIEW):
        return False
    if cause.kind is NotificationKind.RESOLVED:  # whoever heard of the beginning hears of the end
        where = {"incident": cause.incident, "receiver": receiver, "state": tuple(TOLD_STATES)}
        return tx.notifications.count(where) == 0
    is_active = reading.incident is None or reading.incident.is_active
    return not (is_active and cause.kind in _LASTING)


def _add(tx: Transaction, notification: Notification) -> bool:
    if tx.notifications.get(notification.id) is not None:
        return False
    tx.notifications.add(notification)
    return True


def _look_again(tx: Transaction, incident: str, now: datetime) -> None:
    """What was held because nobody could act on it has its turn again, now that more is known."""
    for held in tx.notifications.find({"incident": incident, "state": NotificationState.HELD}):
        if held.due_at is None:
            tx.notifications.put(move_notification(held, NotificationState.QUEUED, now=now, due_at=now))
