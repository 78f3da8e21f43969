"""The inbox: what came in from outside, kept as it came until triage has dealt with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class InboxKind(StrEnum):
    ALERTMANAGER = "alertmanager"  # payload: webhook version 4, as received
    ALERT = "alert"  # payload: one alert in Alertmanager's /api/v2/alerts form (labels, annotations, startsAt, ...)
    CHANGE = "change"
    REPORT = "report"


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
