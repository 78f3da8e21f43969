"""What becomes of a payload: inbox items under ids that make repetition harmless."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from quell.incidents.errors import InvalidInput
from quell.incidents.inbox import InboxItem, InboxKind
from quell.triage.intake import has_start, parse_alert, parse_change, parse_contact, parse_report

_LONGEST_ID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One part of a batch that was not taken, by its place, and why."""

    index: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBatch:
    items: tuple[InboxItem, ...]
    rejected: tuple[Rejected, ...]


def take_alerts(payloads: Sequence[object], *, source: str, received_at: datetime) -> AlertBatch:
    """One item per readable alert, under fingerprint, start and status; the others are named with their fault."""
    items: dict[str, InboxItem] = {}
    rejected: list[Rejected] = []
    for index, payload in enumerate(payloads):
        try:
            item = _alert_item(payload, source, received_at)
            items[item.id] = item
        except InvalidInput as error:
            rejected.append(Rejected(index=index, error=str(error)))
    return AlertBatch(items=tuple(items.values()), rejected=tuple(rejected))


def _alert_item(payload: object, source: str, received_at: datetime) -> InboxItem:
    alert = parse_alert(payload, source=source, received_at=received_at)
    # Without a start the sender may speak of any episode: the receipt tells such items apart.
    start = "" if has_start(payload) else f":{received_at.timestamp():.6f}"
    return InboxItem(
        id=f"alert:{alert.id}:{alert.status}{start}",
        kind=InboxKind.ALERT,
        source=source,
        payload=cast(Mapping[str, Any], payload),
        received_at=received_at,
    )


def take_change(payload: Mapping[str, Any], *, source: str, received_at: datetime) -> InboxItem:
    """The item of one change. Raises InvalidInput."""
    id = _id("change", payload, received_at)
    parse_change(payload, id=id, received_at=received_at)
    return InboxItem(id=id, kind=InboxKind.CHANGE, source=source, payload=payload, received_at=received_at)


def take_report(payload: Mapping[str, Any], *, source: str, received_at: datetime) -> InboxItem:
    """The item of one report. Raises InvalidInput."""
    id = _id("report", payload, received_at)
    parse_report(payload, id=id, received_at=received_at)
    parse_contact(payload)
    return InboxItem(id=id, kind=InboxKind.REPORT, source=source, payload=payload, received_at=received_at)


def _id(noun: str, payload: Mapping[str, Any], received_at: datetime) -> str:
    """The sender's own id, else the hash of what it says; what has no time of its own repeats only within a minute."""
    given = payload.get("id")
    if given is not None and given != "":
        if not isinstance(given, str) or len(given) > _LONGEST_ID or not given.isprintable():
            raise InvalidInput(f"id is {str(given)[:80]!r}: send printable text of at most {_LONGEST_ID} characters")
        return f"{noun}:{given}"
    content: dict[str, Any] = dict(payload)
    if not content.get("at"):
        content["minute"] = received_at.strftime("%Y-%m-%dT%H:%M")
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return f"{noun}:{digest[:16]}"
