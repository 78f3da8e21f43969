"""The outbox at work: takes what is due for a receiver, and records what became of each attempt.

Nothing is sent inside a transaction. Whoever takes a notification holds it for a time (`lease_until`); if it dies, the
next one sends it again. So each is sent at least once, and twice only where a sender died, or hung for longer than its
lease, between sending and recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quell.incidents.incident import Incident
from quell.incidents.notification import (
    Notification,
    NotificationKind,
    NotificationState,
    move_notification,
)
from quell.incidents.timeline import Event
from quell.ports import Transaction
from quell.response.escalation import person_receiver, person_told
from quell.triage.notification import Message, write_digest
from quell.triage.notification_digest import digest_lines
from quell.triage.notification_route import Receiver
from quell.triage.notification_timing import Standing, Step, decide, retry_at
from tasks.notify import REPORTERS
from tasks.notify_facts import describe, is_still_asked
from tasks.reports import contact_address, forget_contact, reporter_message
from tasks.resources import Resources

BY = "quell"
WAITING = (NotificationState.QUEUED, NotificationState.HELD, NotificationState.SENDING)
_LEASE_MARGIN = timedelta(seconds=30)
_TAKEN_AT_ONCE = 200
_ERRORS_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A notification in the hands of a sender; `references` are the addresses that do not have it yet."""

    notification: Notification
    message: Message
    references: tuple[str, ...]
    timeout: timedelta
    give_up_after: timedelta
    contact: str | None = None


def receiver_of(res: Resources, name: str) -> Receiver | None:
    """The receiver by name; the authors of reports are one as well."""
    reporters = res.config.notifying.reporters
    if name == REPORTERS and reporters is not None:
        return Receiver(
            name=REPORTERS,
            urls=(reporters.url,),
            only_actionable=False,
            timeout=reporters.timeout,
            give_up_after=reporters.give_up_after,
        )
    return res.config.notifying.receivers.get(name) or _person(res, name)


def _person(res: Resources, name: str) -> Receiver | None:
    """Somebody of people.yaml as a receiver, where notifications.yaml says how people are told."""
    mail = res.config.notifying.people
    if mail is None or person_told(res.config.people, name) is None:
        return None
    return Receiver(
        name=name,
        urls=(mail.url,),
        only_actionable=False,
        timeout=mail.timeout,
        give_up_after=mail.give_up_after,
    )


def receivers_with_work(res: Resources) -> list[str]:
    """Who has something due."""
    names = [*res.config.notifying.receivers, *([REPORTERS] if res.config.notifying.reporters else [])]
    names += [person_receiver(name) for name in res.config.people] if res.config.notifying.people else []
    now = res.clock()
    with res.store.reading() as tx:
        return [name for name in names if _due(tx, name, now, limit=1)]


def take(res: Resources, name: str, holder: str) -> Parcel | None:
    """The next notification that this receiver shall get now, held by `holder`; None when there is none.

    What is held, dropped or gathered in a digest on the way is recorded.
    """
    receiver = receiver_of(res, name)
    if receiver is None:
        return None
    with res.store.writing() as tx:
        return _Desk(tx, res, receiver, holder).take()


def record(
    res: Resources, parcel: Parcel, *, reached: Sequence[str], errors: Sequence[str], fraction: float
) -> NotificationState | None:
    """What became of an attempt; None where somebody else holds the notification now. `fraction` is the retry's jitter.

    Failures stand on the notification; giving up stands on the timeline as well.
    """
    with res.store.writing() as tx:
        now, sent = res.clock(), parcel.notification
        current = tx.notifications.get(sent.id)
        if current is None or current.holder != sent.holder or current.attempts != sent.attempts:
            return None
        stamped = [f"{now:%Y-%m-%d %H:%M:%S}Z attempt {sent.attempts}: {error}" for error in errors]
        current = replace(
            current,
            reached=tuple(dict.fromkeys([*current.reached, *reached])),
            errors=(*current.errors, *stamped)[-_ERRORS_KEPT:],
        )
        again = retry_at(current.attempts, now=now, fraction=fraction)
        if not errors:
            current = replace(move_notification(current, NotificationState.SENT, now=now), sent_at=now)
            _say(tx, current, "notified", f"{current.kind.replace('_', ' ')} told to {current.receiver}", now)
        elif again > (current.first_tried_at or now) + parcel.give_up_after:
            current = move_notification(current, NotificationState.FAILED, now=now, reason="given up")
            text = f"{current.kind} for {current.receiver} is given up after {current.attempts} attempts: {errors[-1]}"
            _say(tx, current, "notification failed", text, now)
        else:
            current = move_notification(current, NotificationState.QUEUED, now=now, due_at=again)
        tx.notifications.put(current)
        if current.kind is NotificationKind.REPORTER and current.state is not NotificationState.QUEUED:
            forget_contact(tx, current.subject)
        return current.state


def _say(tx: Transaction, notification: Notification, kind: str, text: str, now: datetime) -> None:
    if notification.incident is None and kind == "notified":
        return
    evidence = {"notification": notification.id, "attempts": str(notification.attempts)}
    tx.timeline.append(Event(incident=notification.incident, at=now, kind=kind, by=BY, text=text, evidence=evidence))


def _due(tx: Transaction, receiver: str, now: datetime, limit: int) -> list[Notification]:
    where = {"receiver": receiver, "state": WAITING}
    return tx.notifications.find(where, before=("due_at", now), order="due_at", limit=limit)


class _Desk:
    """One receiver's due notifications in one transaction."""

    def __init__(self, tx: Transaction, res: Resources, receiver: Receiver, holder: str) -> None:
        self._tx = tx
        self._res = res
        self._receiver = receiver
        self._holder = holder
        self._now = res.clock()

    def take(self) -> Parcel | None:
        due = _due(self._tx, self._receiver.name, self._now, _TAKEN_AT_ONCE)
        held = [one for one in due if one.state is NotificationState.HELD]
        if held and (parcel := self._release(held)) is not None:
            return parcel
        for one in due:
            if one.state is NotificationState.SENDING:
                return self._hand_out(replace(one, errors=(*one.errors, "its sender died or hung: sent again")))
            if one.state is NotificationState.QUEUED and (parcel := self._consider(one)) is not None:
                return parcel
        return None

    def _consider(self, one: Notification) -> Parcel | None:
        if one.attempts or one.kind in (NotificationKind.DIGEST, NotificationKind.REPORTER):
            return self._hand_out(one)
        others = self._others(one)
        if any(other.state in (_S.QUEUED, _S.SENDING) and _comes_before(other, one) for other in others):
            return None  # in the order in which it happened
        message, missing = describe(self._tx, self._res, one, self._now)
        incident = self._incident(one)
        standing = Standing(
            notification=one,
            receiver=self._receiver,
            incident=incident,
            others=others,
            sent_lately=self._sent_lately(),
            is_still_asked=is_still_asked(self._tx, self._res, one),
            missing=missing,
        )
        decision = decide(standing, now=self._now)
        if decision.step is Step.SEND:
            return self._hand_out(one, message)
        to = _S.HELD if decision.step is Step.HOLD else _S.OBSOLETE
        self._put(move_notification(one, to, now=self._now, reason=decision.reason, due_at=decision.until))
        return None

    def _release(self, due: Sequence[Notification]) -> Parcel | None:
        """What was held for its hour: alone as it is, several as one digest, with what is held for little longer."""
        soon = self._now + self._receiver.storm.within
        where = {"receiver": self._receiver.name, "state": _S.HELD}
        held = self._tx.notifications.find(where, before=("due_at", soon), order="due_at")
        asked = [one for one in held if is_still_asked(self._tx, self._res, one)]
        for one in held:
            if one not in asked:
                self._put(move_notification(one, _S.OBSOLETE, now=self._now, reason="answered while it was held"))
        if len(asked) == 1:
            return self._hand_out(move_notification(asked[0], _S.QUEUED, now=self._now))
        return self._hand_out(self._digest(asked, due[0].reason)) if asked else None

    def _digest(self, members: Sequence[Notification], why: str) -> Notification:
        incidents = {one.incident: found for one in members if one.incident and (found := self._incident(one))}
        lines = digest_lines(members, incidents)
        what = "a storm" if why.startswith("a storm") else "quiet hours are over"
        message = write_digest(lines, why=what, link=self._res.config.gateway_url)
        digest = Notification(
            id=f"{self._receiver.name}/{NotificationKind.DIGEST}/{self._now.isoformat()}",
            state=_S.QUEUED,
            kind=NotificationKind.DIGEST,
            receiver=self._receiver.name,
            incident=None,
            subject=f"{len(members)} notifications",
            cause=why,
            created_at=self._now,
            updated_at=self._now,
            due_at=self._now,
            severity=min((i.severity for i in incidents.values()), key=lambda s: s.rank, default=None),
            title=message.title,
            text=message.text,
            markdown=message.markdown,
        )
        for one in members:
            incident = self._incident(one)
            told = replace(one, severity=incident.severity if incident else None, first_tried_at=self._now)
            reason = "told inside a digest"
            self._put(replace(move_notification(told, _S.DIGESTED, now=self._now, reason=reason), digest=digest.id))
        return digest

    def _hand_out(self, one: Notification, message: Message | None = None) -> Parcel:
        contact = None
        if one.kind is NotificationKind.REPORTER:
            contact, message = contact_address(self._tx, one.subject), reporter_message(one.incident)
        elif (person := person_told(self._res.config.people, one.receiver)) is not None:
            contact = person.email
        if message is None and one.title:
            message = Message(title=one.title, text=one.text, markdown=one.markdown)
        message = message or describe(self._tx, self._res, one, self._now)[0]
        references = tuple(url for url in self._receiver.urls if url not in one.reached)
        incident = self._incident(one)
        until = self._now + self._receiver.timeout * 2 * len(references) + _LEASE_MARGIN
        taken = replace(
            move_notification(one, _S.SENDING, now=self._now, due_at=until),
            holder=self._holder,
            lease_until=until,
            attempts=one.attempts + 1,
            first_tried_at=one.first_tried_at or self._now,
            severity=incident.severity if incident else one.severity,
            title=message.title,
            text=message.text,
            markdown=message.markdown,
        )
        self._put(taken)
        return Parcel(
            notification=taken,
            message=message,
            references=references,
            timeout=self._receiver.timeout,
            give_up_after=self._receiver.give_up_after,
            contact=contact,
        )

    def _others(self, one: Notification) -> list[Notification]:
        if one.incident is None:
            return []
        found = self._tx.notifications.find({"receiver": self._receiver.name, "incident": one.incident})
        return [other for other in found if other.id != one.id]

    def _sent_lately(self) -> list[datetime]:
        since = self._now - self._receiver.storm.within
        found = self._tx.notifications.find({"receiver": self._receiver.name}, after=("first_tried_at", since))
        return [
            one.first_tried_at
            for one in found
            if one.first_tried_at and one.kind is not NotificationKind.DIGEST and one.state is not _S.DIGESTED
        ]

    def _incident(self, one: Notification) -> Incident | None:
        return self._tx.incidents.get(one.incident) if one.incident else None

    def _put(self, notification: Notification) -> None:
        self._tx.notifications.put(notification)


_S = NotificationState


def _comes_before(other: Notification, one: Notification) -> bool:
    return (other.created_at, other.due_at or other.created_at) < (one.created_at, one.due_at or one.created_at)
