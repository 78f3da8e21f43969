"""What senders write, read as alerts, changes and reports; the rest is refused with field, value and remedy."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from quell.incidents.alert import Alert, AlertStatus, alert_id
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import ALERTNAME, Labels, fingerprint
from quell.incidents.report import Report

ZERO_TIME_YEAR = 1  # Alertmanager writes 0001-01-01T00:00:00Z for "no time yet"
TIME_EXAMPLE = "2026-11-23T07:58:54.725Z"
_LONGEST_SHOWN = 80
LONGEST_CONTACT = 254  # of an e-mail address, RFC 5321


def split_webhook(payload: object) -> list[object]:
    """The alerts of one Alertmanager webhook (version 4), each still as it was sent.

    Raises InvalidInput when it is no such webhook; single alerts are not looked at here.
    """
    body = _mapping(payload, "body")
    version = body.get("version")
    if version != "4":
        raise InvalidInput(f'version is {_shown(version)}: send Alertmanager\'s webhook with "version": "4"')
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        raise InvalidInput(f"alerts is {_shown(alerts)}: send a list of alerts")
    return cast(list[object], alerts)


def parse_alert(payload: object, *, source: str, received_at: datetime) -> Alert:
    """One alert in Alertmanager's form, from its webhook (with `status`) or its API (without).

    Without `startsAt` it starts at its receipt; without `status` it is resolved when `endsAt` has passed.
    """
    body = _mapping(payload, "alert")
    labels = _labels(body.get("labels"))
    starts_at = parse_time(body.get("startsAt"), "startsAt") or received_at
    ends_at = parse_time(body.get("endsAt"), "endsAt")
    status = _status(body.get("status"), ends_at, received_at)
    if status is AlertStatus.FIRING:
        ends_at = None
    elif ends_at is not None and ends_at < starts_at:
        raise InvalidInput(
            f"endsAt {ends_at.isoformat()} is before startsAt {starts_at.isoformat()}: swap or mend them"
        )
    mark = fingerprint(labels)
    return Alert(
        id=alert_id(mark, starts_at),
        fingerprint=mark,
        status=status,
        labels=labels,
        annotations=_texts(body.get("annotations"), "annotations"),
        starts_at=starts_at,
        ends_at=ends_at or (received_at if status is AlertStatus.RESOLVED else None),
        source=source,
        generator_url=_text(body.get("generatorURL"), "generatorURL"),
        received_at=received_at,
        updated_at=received_at,
    )


def has_start(payload: object) -> bool:
    """Whether the sender said when the alert started; if not, it speaks of the episode that fires now."""
    return isinstance(payload, Mapping) and bool(cast(Mapping[str, Any], payload).get("startsAt"))


def parse_change(payload: object, *, id: str, received_at: datetime) -> Change:
    """One change as a deployment pipeline posts it. `at` defaults to the receipt, `kind` to other."""
    body = _mapping(payload, "change")
    kind = body.get("kind", ChangeKind.OTHER)
    if kind not in list(ChangeKind):
        raise InvalidInput(f"kind is {_shown(kind)}: send one of {', '.join(ChangeKind)}")
    return Change(
        id=id,
        kind=ChangeKind(kind),
        service=_required(body, "service"),
        instance=_text(body.get("instance"), "instance") or None,
        at=parse_time(body.get("at"), "at") or received_at,
        summary=_required(body, "summary"),
        author=_text(body.get("author"), "author"),
        commit=_text(body.get("commit"), "commit") or None,
        url=_text(body.get("url"), "url"),
        received_at=received_at,
    )


def parse_report(payload: object, *, id: str, received_at: datetime) -> Report:
    """One user's report. `at` defaults to the receipt."""
    body = _mapping(payload, "report")
    return Report(
        id=id,
        text=_required(body, "text"),
        service=_text(body.get("service"), "service") or None,
        reporter=_text(body.get("reporter"), "reporter"),
        sender=_text(body.get("sender"), "sender"),
        at=parse_time(body.get("at"), "at") or received_at,
    )


def parse_contact(payload: object) -> str | None:
    """Where the author of a report wants to be told that it is over; None without an address or without consent."""
    body = _mapping(payload, "report")
    contact = _text(body.get("contact"), "contact").strip()
    if len(contact) > LONGEST_CONTACT or not contact.isprintable():
        raise InvalidInput(
            f"contact is longer than {LONGEST_CONTACT} characters or not printable: send an e-mail address"
        )
    return contact if contact and body.get("consent") is True else None


def parse_time(value: object, field: str) -> datetime | None:
    """An RFC 3339 time as aware UTC; None for nothing and for Alertmanager's zero time.

    >>> parse_time("0001-01-01T00:00:00Z", "endsAt") is None
    True
    """
    if value is None or value == "":
        return None
    remedy = f"send a time with an offset like {TIME_EXAMPLE}"
    if not isinstance(value, str):
        raise InvalidInput(f"{field} is {_shown(value)}: {remedy}")
    try:
        moment = datetime.fromisoformat(value.replace("z", "Z"))  # RFC 3339 lets senders write either
    except ValueError as error:
        raise InvalidInput(f"{field} is {_shown(value)}: {remedy}") from error
    if moment.year == ZERO_TIME_YEAR:
        return None
    if moment.tzinfo is None:
        raise InvalidInput(f"{field} is {_shown(value)}, without an offset: {remedy}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{field} is {_shown(value)}, which is outside the years that exist: {remedy}") from error


def _status(value: object, ends_at: datetime | None, received_at: datetime) -> AlertStatus:
    if value is None:
        return AlertStatus.RESOLVED if ends_at is not None and ends_at <= received_at else AlertStatus.FIRING
    if value not in list(AlertStatus):
        raise InvalidInput(f"status is {_shown(value)}: send firing or resolved")
    return AlertStatus(value)


def _labels(value: object) -> Labels:
    labels = {name: text for name, text in _texts(value, "labels").items() if text}  # empty = absent, as in Prometheus
    if not labels.get(ALERTNAME):
        raise InvalidInput(f"labels.{ALERTNAME} is missing: send the alert's name, and service and instance if known")
    return labels


def _texts(value: object, field: str) -> dict[str, str]:
    if value is None:
        return {}
    return {
        _text(name, f"a name in {field}"): _text(text, f"{field}.{name}")
        for name, text in _mapping(value, field).items()
    }


def _text(value: object, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"{field} is {_shown(value)}: send text")
    if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(f"{field} holds a NUL or half a character: send valid Unicode text without NUL")
    return value


def _required(body: Mapping[str, Any], field: str) -> str:
    text = _text(body.get(field), field).strip()
    if not text:
        raise InvalidInput(f"{field} is {_shown(body.get(field))}: send a text that is not empty")
    return text


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{field} is {_shown(value)}: send a JSON object")
    return cast(Mapping[str, Any], value)


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
