"""A record as a row and back: indexed fields as typed columns, everything as JSON text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast, get_args, get_type_hints

import msgspec
import numpy as np

from quell.incidents.alert import Alert
from quell.incidents.anomaly import Anomaly
from quell.incidents.change import Change
from quell.incidents.decision import Decision
from quell.incidents.errors import InvalidInput
from quell.incidents.fix import Fix
from quell.incidents.footprint import Footprint
from quell.incidents.inbox import Delivery, InboxItem, Received
from quell.incidents.incident import Incident
from quell.incidents.journal import JournalEntry, Lease
from quell.incidents.mitigation import Mitigation
from quell.incidents.notification import Notification
from quell.incidents.report import Report
from quell.incidents.review import Review
from quell.incidents.silence import Silence
from quell.incidents.threshold import ThresholdVersion
from quell.incidents.timeline import Event
from quell.incidents.verdict import Verdict
from quell.ports import Document
from quell.record_indexes import COMPANIONS, INDEXES, SEARCHABLE

RECORD_TYPES: Mapping[str, type[Any]] = {
    "inbox": InboxItem,
    "alerts": Alert,
    "incidents": Incident,
    "mitigations": Mitigation,
    "journal": JournalEntry,
    "decisions": Decision,
    "fixes": Fix,
    "thresholds": ThresholdVersion,
    "changes": Change,
    "reports": Report,
    "reviews": Review,
    "verdicts": Verdict,
    "anomalies": Anomaly,
    "notifications": Notification,
    "documents": Document,
    "leases": Lease,
    "silences": Silence,
    "footprints": Footprint,
}
Row = Mapping[str, Any]  # id, the indexed fields, body, and blob for documents
Value = str | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedField:
    name: str
    is_time: bool
    is_optional: bool


@cache
def indexed_fields(kind: str) -> Mapping[str, IndexedField]:
    """The indexed fields of a kind by name, as the record's type declares them."""
    return {name: _field(kind, name) for name in INDEXES[kind]}


@cache
def companions(kind: str) -> Mapping[str, IndexedField]:
    """The further columns of a kind, which have no index of their own."""
    names = (*COMPANIONS.get(kind, ()), *(["search"] if kind in SEARCHABLE else []))
    return {name: _field(kind, name) for name in names}


@cache
def columns_of(kind: str) -> tuple[str, ...]:
    return (*indexed_fields(kind), *companions(kind))


def _field(kind: str, name: str) -> IndexedField:
    """What a column holds follows from the type of the record's field, or of its property."""
    record = RECORD_TYPES[kind]
    derived = getattr(record, name, None)
    hint = get_type_hints(derived.fget)["return"] if isinstance(derived, property) else get_type_hints(record)[name]
    return IndexedField(
        name=name,
        is_time=datetime in (hint, *get_args(hint)),
        is_optional=type(None) in get_args(hint),
    )


def encode_record(kind: str, record: Any) -> dict[str, Any]:
    """The record as a row. Raises InvalidInput for what could not be read back as it was meant."""
    row: dict[str, Any] = {"id": column_value(kind, "id", record.id)}
    for name in columns_of(kind):
        row[name] = column_value(kind, name, getattr(record, name))
    if isinstance(record, Document):
        row["blob"] = record.blob
        record = replace(record, blob=b"")
    try:
        body = _encoder.encode(record)
        # JSON has no NaN: msgspec writes null, which only fields that may be None can take back.
        _decoder(kind).decode(body)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError) as error:
        raise InvalidInput(f"{kind} record {record.id} cannot be stored: {error}") from error
    row["body"] = body.decode()
    return row


def encode_received(item: Received) -> dict[str, Any]:
    """What comes into the inbox as a row; the payload of a Delivery is put in as the text that it is."""
    if not isinstance(item, Delivery):
        return encode_record("inbox", item)
    received_at = cast(datetime, column_value("inbox", "received_at", item.received_at))
    body = (
        f'{{"id":"{item.id}","kind":"{item.kind}","source":"{item.source}","payload":{item.payload},'
        f'"received_at":"{received_at.isoformat()}"}}'
    )
    return {
        "id": item.id,
        "kind": str(item.kind),
        "received_at": received_at,
        "processed_at": None,
        "quarantine": None,
        "body": body,
    }


def decode_record(kind: str, body: str, blob: bytes | None = None) -> Any:
    record = _decoder(kind).decode(body)
    return replace(record, blob=bytes(blob)) if blob else record


def column_value(kind: str, field: str, value: object) -> Value:
    """A field's value as its column holds it: plain text, or a time in UTC.

    Raises InvalidInput for text that PostgreSQL could not hold and for a time without a zone.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput(f"{kind}.{field} is {value} without a time zone; times are aware and in UTC")
        return value.astimezone(UTC)
    text = str(value)
    if _clean(text) != text:
        raise InvalidInput(f"{kind}.{field} is {text!r}; it holds a character that text in a database cannot have")
    return text


def clean_event(event: Event) -> Event:
    """The event as every database can hold it, in UTC: what cannot be written is replaced, never a reason to fail."""
    return replace(
        event,
        incident=None if event.incident is None else _clean(event.incident),
        at=cast(datetime, column_value("timeline", "at", event.at)),
        kind=_clean(event.kind),
        by=_clean(event.by),
        text=_clean(event.text),
        subject=None if event.subject is None else _clean(event.subject),
        evidence={_clean(str(name)): _clean(str(value)) for name, value in event.evidence.items()},
    )


def encode_evidence(evidence: Mapping[str, str]) -> str:
    return _encoder.encode(evidence).decode()


def decode_evidence(text: str) -> Mapping[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _clean(text: str) -> str:
    """Without NUL (PostgreSQL has none) and lone surrogates (UTF-8 has none)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _plain(value: object) -> object:
    """What msgspec does not know by itself: numpy's scalars, and other mappings than dict."""
    if isinstance(value, np.generic):
        return cast(object, value.item())
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, object], value))
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(RECORD_TYPES[kind])


_encoder = msgspec.json.Encoder(enc_hook=_plain)
