"""A notification: one message to one receiver about one thing, and the states it passes through in the outbox."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from quell.incidents.incident import Severity
from quell.incidents.lifecycle import check_transition


class NotificationKind(StrEnum):
    """What it tells."""

    OPENED = "opened"
    REOPENED = "reopened"
    SEVERITY = "severity"
    APPROVAL = "approval"
    ESCALATION = "escalation"  # nobody has answered what waits for approval
    PAGE = "page"  # a playbook says that people shall look, and nothing else
    APPLIED = "applied"  # this and the next six: what became of a mitigation, where its playbook says so
    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    INCONCLUSIVE = "inconclusive"
    UNDONE = "undone"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNDO_FAILED = "undo_failed"
    SWEEPS_STOPPED = "sweeps_stopped"
    RESOLVED = "resolved"
    DIGEST = "digest"  # several at once: the end of quiet hours, or of a storm
    REPORTER = "reporter"  # to the author of a user's report
    REVIEW = "review"  # a post-mortem waits for a sign-off, or an action item for its owner


_K = NotificationKind
# Told to nobody unless the playbook of the mitigation asks for it.
MITIGATION_KINDS = frozenset(
    {_K.APPLIED, _K.EFFECTIVE, _K.INEFFECTIVE, _K.INCONCLUSIVE, _K.UNDONE, _K.REFUSED, _K.EXPIRED}
)

# Trouble with Quell itself, what a playbook pages for, and a question that nobody answers: the morning is too late.
URGENT_KINDS = frozenset(
    {
        NotificationKind.UNDO_FAILED,
        NotificationKind.SWEEPS_STOPPED,
        NotificationKind.PAGE,
        NotificationKind.ESCALATION,
    }
)


class NotificationState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"  # given up; the errors say why
    HELD = "held"  # until `due_at`; without one, until it becomes actionable
    DIGESTED = "digested"  # told inside the digest that `digest` names
    OBSOLETE = "obsolete"  # answered, or told by another one, before its turn came


_S = NotificationState
NOTIFICATION_TRANSITIONS: Mapping[NotificationState, frozenset[NotificationState]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.HELD, _S.OBSOLETE}),
    _S.SENDING: frozenset({_S.SENT, _S.QUEUED, _S.FAILED, _S.SENDING}),  # sending again: its sender died
    _S.SENT: frozenset(),
    _S.FAILED: frozenset({_S.QUEUED}),  # a person asked for another round
    _S.HELD: frozenset({_S.QUEUED, _S.DIGESTED, _S.HELD, _S.OBSOLETE}),
    _S.DIGESTED: frozenset(),
    _S.OBSOLETE: frozenset(),
}
# States in which the receiver has been told, or surely will be.
TOLD_STATES = frozenset({_S.QUEUED, _S.SENDING, _S.SENT, _S.DIGESTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """`id` is the key that keeps it from being sent twice. `title`, `text` and `markdown` are what was last rendered.

    `subject` is the record that it is about, `cause` the sentence of the timeline that called for it. `reached` names
    the addresses (by reference) that have it already: a retry asks only the others.
    """

    id: str
    state: NotificationState
    kind: NotificationKind
    receiver: str
    incident: str | None
    subject: str
    cause: str
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    severity: Severity | None = None
    title: str = ""
    text: str = ""
    markdown: str = ""
    attempts: int = 0
    first_tried_at: datetime | None = None
    sent_at: datetime | None = None
    reached: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    reason: str = ""  # why it is held, digested or obsolete
    digest: str | None = None
    holder: str | None = None
    lease_until: datetime | None = None


def move_notification(
    notification: Notification,
    to: NotificationState,
    *,
    now: datetime,
    reason: str = "",
    due_at: datetime | None = None,
) -> Notification:
    """The notification in its new state, let go by whoever held it. Raises InvalidTransition."""
    check_transition(f"notification {notification.id}", NOTIFICATION_TRANSITIONS, notification.state, to)
    return replace(notification, state=to, updated_at=now, reason=reason, due_at=due_at, holder=None, lease_until=None)
