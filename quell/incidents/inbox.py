"""The inbox: what came in from outside, kept as it came until triage has dealt with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class InboxKind(StrEnum):
    ALERTMANAGER = "alertmanager"  # payload: webhook version 4, as received
    ALERT = "alert"  # payload: one alert in Alertmanager's /api/v2/alerts form (labels, annotations, startsAt, ...)
    ALERTS = "alerts"  # payload: {"alerts": [...]}, the alerts of one request
    CHANGE = "change"
    REPORT = "report"
    UNREADABLE = "unreadable"  # payload: see `quell.triage.unreadable`


class Quarantine(StrEnum):
    """What became of an item that could not be read or triaged."""

    HELD = "held"  # waits for a person: replay or discard
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """`id` is the idempotency key; the store keeps the order of arrival. `error` is set where the item is poison."""

    id: str
    kind: InboxKind
    source: str
    payload: Mapping[str, Any]
    received_at: datetime
    processed_at: datetime | None = None
    error: str = ""
    quarantine: Quarantine | None = None

    @property
    def events(self) -> int:
        """How many events the item speaks of."""
        alerts: object = self.payload.get("alerts") if self.kind is InboxKind.ALERTS else None
        return len(alerts) if isinstance(alerts, list) else 1  # pyright: ignore[reportUnknownArgumentType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A new inbox item whose payload is still the JSON text that came in: storing it encodes nothing anew.

    Whoever makes one has read the text: `payload` is a JSON object in valid Unicode, `id` and `source` need no escapes.
    """

    id: str
    kind: InboxKind
    source: str
    payload: str
    received_at: datetime


Received = InboxItem | Delivery
