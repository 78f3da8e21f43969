"""Timing: whether a notification whose turn has come is sent now, held, or no longer needed, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from quell.incidents.incident import Incident, Severity
from quell.incidents.maintenance import Weekly
from quell.incidents.notification import TOLD_STATES, URGENT_KINDS, Notification, NotificationKind
from quell.triage.notification_route import Receiver

_KIND = NotificationKind
_NEWS = frozenset({_KIND.OPENED, _KIND.REOPENED, _KIND.SEVERITY})
RETRY_FIRST = timedelta(seconds=5)
RETRY_LONGEST = timedelta(minutes=5)
_RETRY_LEAST = timedelta(seconds=1)


class Step(StrEnum):
    SEND = "send"
    HOLD = "hold"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`until` is None where nothing but news can end the holding."""

    step: Step
    reason: str = ""
    until: datetime | None = None


SEND = Decision(step=Step.SEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known when the turn of a notification has come.

    `others` are those of the same incident for the same receiver, `sent_lately` when this receiver was last told
    something (first attempts), `missing` what the message lacks to be acted on (empty: nothing).
    """

    notification: Notification
    receiver: Receiver
    incident: Incident | None
    others: Sequence[Notification]
    sent_lately: Sequence[datetime]
    is_still_asked: bool
    missing: str


def decide(standing: Standing, *, now: datetime) -> Decision:
    """Drop what is answered, hold what nobody could act on or that can wait, send the rest."""
    return (
        _as_obsolete(standing)
        or _as_unactionable(standing)
        or _as_quiet(standing, now)
        or _as_storm(standing, now)
        or SEND
    )


def _as_obsolete(standing: Standing) -> Decision | None:
    notification, incident = standing.notification, standing.incident
    match notification.kind:
        case _KIND.APPROVAL | _KIND.ESCALATION | _KIND.REVIEW if not standing.is_still_asked:
            return Decision(step=Step.DROP, reason=f"{notification.subject} was answered before this was sent")
        case NotificationKind.SEVERITY if incident is not None and told_severity(standing.others) is incident.severity:
            return Decision(step=Step.DROP, reason=f"severity {incident.severity} was told already")
        case NotificationKind.RESOLVED if standing.receiver.only_actionable and not any(map(_tells, standing.others)):
            return Decision(step=Step.DROP, reason="this receiver was told nothing of the incident")
        case _:
            return None


def told_severity(others: Sequence[Notification]) -> Severity | None:
    """The severity that the receiver heard last."""
    told = [o for o in others if o.state in TOLD_STATES and o.severity is not None and o.first_tried_at is not None]
    latest = max(told, key=lambda other: (other.first_tried_at, other.updated_at), default=None)
    return latest.severity if latest else None


def _tells(other: Notification) -> bool:
    is_waiting = other.due_at is not None  # held for its hour, not for want of something to act on
    return other.kind is not NotificationKind.RESOLVED and (other.state in TOLD_STATES or is_waiting)


def _as_unactionable(standing: Standing) -> Decision | None:
    if not standing.receiver.only_actionable or not standing.missing or standing.notification.kind not in _NEWS:
        return None
    return Decision(step=Step.HOLD, reason=f"nobody could act on it: {standing.missing}")


def _as_quiet(standing: Standing, now: datetime) -> Decision | None:
    quiet, notification = standing.receiver.quiet_hours, standing.notification
    is_critical = standing.incident is not None and standing.incident.severity is Severity.CRITICAL
    is_urgent = notification.kind in URGENT_KINDS or (is_critical and notification.kind is not _KIND.REVIEW)
    if quiet is None or is_urgent:
        return None
    end = quiet_until(quiet, now)
    if end is None:
        return None
    local = end.astimezone(quiet.zone)
    return Decision(step=Step.HOLD, reason=f"quiet hours until {local:%Y-%m-%d %H:%M} ({quiet.zone})", until=end)


def quiet_until(quiet: Weekly, now: datetime) -> datetime | None:
    """When the quiet hours that hold now end, None where none hold; hours that touch each other are one."""
    end: datetime | None = None
    for start, stop in quiet.periods(now, now + timedelta(days=8)):
        if start <= (end or now) < stop:
            end = stop
    return end


def _as_storm(standing: Standing, now: datetime) -> Decision | None:
    storm, kind = standing.receiver.storm, standing.notification.kind
    if kind in URGENT_KINDS or kind is NotificationKind.DIGEST:
        return None
    within = sorted(at for at in standing.sent_lately if at > now - storm.within)
    if len(within) < storm.more_than:
        return None
    seconds = f"{storm.within.total_seconds():g} s"
    return Decision(
        step=Step.HOLD,
        reason=f"a storm: {len(within)} notifications went out within {seconds}, the limit is {storm.more_than}",
        until=within[0] + storm.within,
    )


def retry_at(attempts: int, *, now: datetime, fraction: float) -> datetime:
    """When the next attempt is: exponential back-off with full jitter, `fraction` in [0, 1) is the throw of the dice.

    Full jitter spreads many senders best: their next attempts are uniform over the whole wait.
    Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.

    >>> from datetime import UTC
    >>> start = datetime(2026, 11, 23, tzinfo=UTC)
    >>> [(retry_at(n, now=start, fraction=1) - start).total_seconds() for n in (1, 2, 3, 9)]
    [5.0, 10.0, 20.0, 300.0]
    """
    longest = min(RETRY_FIRST * 2 ** min(attempts - 1, 16), RETRY_LONGEST)
    return now + max(longest * fraction, _RETRY_LEAST)
