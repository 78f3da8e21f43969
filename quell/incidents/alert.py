"""An alert: one firing of one label set, from its start to its end, whoever reported it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY, Fingerprint, Labels
from quell.incidents.search import searchable

AlertId = NewType("AlertId", str)


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
class Alert:
    """One episode of an alert, identified by fingerprint and start."""

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
    )
