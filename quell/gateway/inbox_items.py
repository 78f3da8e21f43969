"""What becomes of a body: inbox items under ids that make repetition harmless, and what could not be read."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from quell.gateway.fast_alerts import quick_alerts
from quell.gateway.openapi import NO_NUL, TIME_OR_NONE, Schema
from quell.gateway.sender_mark import SenderMark
from quell.incidents.change import ChangeKind
from quell.incidents.errors import InvalidInput
from quell.incidents.inbox import Delivery, InboxItem, InboxKind, Quarantine, Received
from quell.triage.form import Form, split_alerts
from quell.triage.intake import (
    LONGEST_CONTACT,
    TIME_EXAMPLE,
    has_start,
    parse_alert,
    parse_change,
    parse_contact,
    parse_report,
)
from quell.triage.unreadable import Unreadable, parse_json

MOST_IN_ONE_ITEM = 256  # a drain takes whole items: this bounds what one transaction has to do
_LONGEST_ID = 200


# For the document: `quell.triage.intake` is what holds senders to it, and answers in its own words.
_NOT_BLANK: Schema = {"pattern": "^[^\\x00]*[^\\x00\\s][^\\x00]*$"}

_Id = Annotated[
    str | None, Field(description="printable; without it what is said", json_schema_extra={"maxLength": _LONGEST_ID})
]
_Text = Annotated[str, Field(json_schema_extra=_NOT_BLANK)]
_TextOrNone = Annotated[str | None, Field(json_schema_extra=NO_NUL)]
_TimeOrNone = Annotated[str | None, Field(json_schema_extra=TIME_OR_NONE)]


class ChangeIn(BaseModel):
    """A deploy or a change of configuration. `id` makes repetition harmless; without it the content does."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: _Id = None
    kind: str = Field("other", json_schema_extra={"enum": list(ChangeKind)})
    service: _Text
    instance: _TextOrNone = None
    at: _TimeOrNone = Field(None, description=f"when it took effect, like {TIME_EXAMPLE}; default: now")
    summary: _Text
    author: _TextOrNone = None
    commit: _TextOrNone = None
    url: _TextOrNone = None


class ReportIn(BaseModel):
    """A user says that something is wrong."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: _Id = None
    text: _Text = Field(max_length=4000)
    service: _TextOrNone = Field(None, max_length=200)
    reporter: _TextOrNone = Field(
        None,
        max_length=200,
        description="who says so: one name is one voice, so give an account rather than a first name",
    )
    contact: _TextOrNone = Field(
        None,
        description="an e-mail address to be told at when it is over, printable; needs consent",
        json_schema_extra=NO_NUL | {"maxLength": LONGEST_CONTACT},
    )
    consent: bool | None = Field(None, description="whether the address may be kept until then")
    at: _TimeOrNone = Field(None, description=f"when it was seen, like {TIME_EXAMPLE}; default: now")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One part of a body that was not taken, by its place, and why."""

    index: int
    error: str
    part: Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`items` say `taken` events."""

    items: tuple[Received, ...]
    taken: int
    rejected: tuple[Rejected, ...] = ()


def take_body(form: Form, body: bytes, *, source: str, received_at: datetime, sent_at: datetime | None = None) -> Batch:
    """What to store of a body. `sent_at` is when the sender signed it, which is when a repetition was sent as well.

    Raises NotJson or InvalidInput where nothing in the body can be told apart.
    """
    if form in (Form.CHANGE, Form.REPORT):
        item = _take_event(form, parse_json(body), source=source, received_at=received_at)
        return Batch(items=(item,), taken=1)
    quick = quick_alerts(form, body, most=MOST_IN_ONE_ITEM)
    if quick is not None:
        text, count = quick
        return Batch(items=(_delivery(text, source, received_at, ""),), taken=count)
    parts = split_alerts(form, parse_json(body))
    return take_alerts(parts, source=source, received_at=received_at, sent_at=sent_at)


def take_alerts(
    payloads: Sequence[object], *, source: str, received_at: datetime, sent_at: datetime | None = None
) -> Batch:
    """The readable alerts in as few items as need be; the others are named with their fault."""
    dated: list[str] = []
    startless: list[str] = []
    rejected: list[Rejected] = []
    for index, payload in enumerate(payloads):
        try:
            parse_alert(payload, source=source, received_at=received_at)
            (dated if has_start(payload) else startless).append(_text_of(payload))
        except InvalidInput as error:
            part = Unreadable(form=Form.PLAIN, body=json.dumps(payload).encode())
            rejected.append(Rejected(index=index, error=str(error), part=part))
    # Without a start the sender may speak of any episode: the receipt tells such alerts apart.
    moment = f"{(sent_at or received_at).timestamp():.6f}"
    items = [_delivery(text, source, received_at, "") for text in _texts(dated)]
    items += [_delivery(text, source, received_at, moment) for text in _texts(startless)]
    return Batch(items=tuple(items), taken=len(dated) + len(startless), rejected=tuple(rejected))


def _text_of(alert: object) -> str:
    """The alert as JSON. It can say what no UTF-8 and no database can hold: half a character, a number without end."""
    try:
        return msgspec.json.encode(alert).decode()
    except (UnicodeError, OverflowError, RecursionError) as error:
        raise InvalidInput(
            f"alert holds what cannot be stored ({error}): send valid Unicode and plain numbers"
        ) from error


def _texts(alerts: list[str]) -> Iterator[str]:
    for start in range(0, len(alerts), MOST_IN_ONE_ITEM):
        yield f"[{','.join(alerts[start : start + MOST_IN_ONE_ITEM])}]"


def _delivery(alerts: str, source: str, received_at: datetime, moment: str) -> Delivery:
    """Named by what it says, so that a repetition is the same item, whichever of several Alertmanagers sends it."""
    digest = hashlib.blake2b((alerts + moment).encode(), digest_size=16).hexdigest()
    return Delivery(
        id=f"alerts:{digest}",
        kind=InboxKind.ALERTS,
        source=source,
        payload=f'{{"alerts":{alerts}}}',
        received_at=received_at,
    )


def _take_event(form: Form, payload: object, *, source: str, received_at: datetime) -> InboxItem:
    model = ChangeIn if form is Form.CHANGE else ReportIn
    said = model.model_validate(payload).model_dump(exclude_none=True)
    return (take_change if form is Form.CHANGE else take_report)(said, source=source, received_at=received_at)


def take_change(payload: Mapping[str, Any], *, source: str, received_at: datetime) -> InboxItem:
    """The item of one change. Raises InvalidInput."""
    return _event(InboxKind.CHANGE, parse_change, payload, source, received_at)


def take_report(payload: Mapping[str, Any], *, source: str, received_at: datetime) -> InboxItem:
    """The item of one report. Raises InvalidInput."""
    parse_contact(payload)
    return _event(InboxKind.REPORT, parse_report, payload, source, received_at)


def mark_report(batch: Batch, mark: SenderMark) -> Batch:
    """The batch of one report, with the mark of whom its source names as the reporter. Its id stays what was sent."""
    (item,) = batch.items
    assert isinstance(item, InboxItem)
    sender = mark.of_reporter(item.source, str(item.payload.get("reporter", "")))
    marked = replace(item, payload=dict(item.payload) | {"sender": sender}) if sender else item
    return replace(batch, items=(marked,))


def _event(
    kind: InboxKind, parse: Callable[..., object], payload: Mapping[str, Any], source: str, received_at: datetime
) -> InboxItem:
    id = _id(kind, payload, received_at)
    parse(payload, id=id, received_at=received_at)
    return InboxItem(id=id, kind=kind, source=source, payload=payload, received_at=received_at)


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


def held_item(unreadable: Unreadable, *, error: str, source: str, received_at: datetime) -> InboxItem:
    """What could not be read as an item in quarantine; the same text from the same source is held once."""
    digest = hashlib.blake2b(f"{source}\0{unreadable.form}\0".encode() + unreadable.body, digest_size=16).hexdigest()
    return InboxItem(
        id=f"unreadable:{digest}",
        kind=InboxKind.UNREADABLE,
        source=source,
        payload=unreadable.payload(),
        received_at=received_at,
        processed_at=received_at,
        error=error,
        quarantine=Quarantine.HELD,
    )
