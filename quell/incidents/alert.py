"""An alert: one firing of one label set, from its start to its end, whoever reported it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY, Fingerprint, Labels
from quell.incidents.search import searchable

AlertId = NewType("AlertId", str)
REPORTS_ALERT = "UserReports"  # the alert that stands for a burst of users' reports
MOST_REMEMBERED = 20  # earlier outcomes kept with an alert


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class AlertOutcome(StrEnum):
    """What triage did with an alert; every alert has exactly one."""

    OPENED = "opened"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    MUTED = "muted"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What triage decided on an alert at one moment: the outcome, its reason, and the rule that gave it.

    `rule` is its name ("same service", "silence SIL-3", ...), `rule_at` is file and line where a person wrote it.
    """

    at: datetime
    outcome: AlertOutcome
    reason: str
    rule: str = ""
    rule_at: str = ""
    incident: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One episode of an alert, identified by fingerprint and start.

    `heard_firing`: it is over, and a sender told of it while it fired. `due_at` is the next moment at which the clock
    decides on it, `held_by` is what holds it back ("silence SIL-3", "inhibition by ALERT"); `history` are its earlier
    outcomes, oldest first.
    """

    id: AlertId
    fingerprint: Fingerprint
    status: AlertStatus
    labels: Labels
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    source: str
    generator_url: str = ""
    received_at: datetime
    updated_at: datetime
    outcome: AlertOutcome | None = None
    outcome_reason: str = ""
    incident: str | None = None
    rule: str = ""
    rule_at: str = ""
    decided_at: datetime | None = None
    heard_firing: bool = False
    is_flapping: bool = False
    due_at: datetime | None = None
    held_by: str | None = None
    history: tuple[Ruling, ...] = ()

    @property
    def ruling(self) -> Ruling | None:
        """The outcome that counts now; None before triage has looked at it."""
        if self.outcome is None:
            return None
        return Ruling(
            at=self.decided_at or self.received_at,
            outcome=self.outcome,
            reason=self.outcome_reason,
            rule=self.rule,
            rule_at=self.rule_at,
            incident=self.incident,
        )

    @property
    def name(self) -> str:
        return self.labels.get(ALERTNAME, "")

    @property
    def service(self) -> str | None:
        return self.labels.get(SERVICE)

    @property
    def instance(self) -> str | None:
        return self.labels.get(INSTANCE)

    @property
    def search(self) -> str:
        """What people find it by: its labels, its summary and where it came from."""
        words = [f"{name}={value}" for name, value in sorted(self.labels.items())]
        return searchable(*words, self.annotations.get("summary", ""), self.source)

    @property
    def severity_label(self) -> str | None:
        return self.labels.get(SEVERITY)


def alert_id(fingerprint: Fingerprint, starts_at: datetime) -> AlertId:
    """The id of one episode: fingerprint and start in milliseconds, the same from whatever sender, however often.

    >>> from datetime import UTC, datetime
    >>> alert_id(Fingerprint("baa59a3016bb596b"), datetime(2026, 11, 23, 7, 58, 54, 725000, tzinfo=UTC))
    'baa59a3016bb596b-1795420734725'
    """
    return AlertId(f"{fingerprint}-{int(starts_at.timestamp() * 1000)}")


def rule_alert(alert: Alert, ruling: Ruling, *, due_at: datetime | None = None, held_by: str | None = None) -> Alert:
    """The alert with a new outcome; the one before goes into its history, unless it says the same."""
    before, history = alert.ruling, alert.history
    if before is not None and replace(before, at=ruling.at) != ruling:
        history = (*history, before)[-MOST_REMEMBERED:]
    return replace(
        alert,
        outcome=ruling.outcome,
        outcome_reason=ruling.reason,
        incident=ruling.incident,
        rule=ruling.rule,
        rule_at=ruling.rule_at,
        decided_at=ruling.at,
        due_at=due_at,
        held_by=held_by,
        history=history,
    )


def merge_alerts(known: Alert, news: Alert) -> Alert:
    """What is known after hearing `news` about the same episode; the order of arrival does not matter.

    Resolved wins over firing (an episode never fires again: the sender starts a new one), the earliest receipt and
    the latest update are kept, and triage's outcome is never overwritten by the sender.
    """
    if known.id != news.id:
        raise ValueError(f"alert {known.id} cannot be merged with {news.id}")
    resolved = AlertStatus.RESOLVED in (known.status, news.status)
    ends = [at for at in (known.ends_at, news.ends_at) if at is not None]
    newest = news if news.updated_at >= known.updated_at else known
    return replace(
        known,
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        annotations=newest.annotations,
        generator_url=newest.generator_url or known.generator_url,
        ends_at=min(ends) if resolved and ends else None,
        received_at=min(known.received_at, news.received_at),
        updated_at=max(known.updated_at, news.updated_at),
        heard_firing=resolved and any(a.heard_firing or a.status is AlertStatus.FIRING for a in (known, news)),
    )
