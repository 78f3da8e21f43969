"""Intake: takes what came in from the inbox and lets triage decide on it, exactly once, in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from prefect import task

from quell.incidents.alert import Alert, AlertId, AlertStatus, alert_id, merge_alerts
from quell.incidents.change import Change
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.inbox import InboxItem, InboxKind, Quarantine
from quell.incidents.labels import Fingerprint
from quell.incidents.report import Report
from quell.ports import Transaction
from quell.triage.form import Form, split_alerts
from quell.triage.intake import (
    has_start,
    parse_alert,
    parse_change,
    parse_contact,
    parse_report,
    split_webhook,
)
from quell.triage.unreadable import parse_json, read_unreadable
from tasks.reports import keep_contact
from tasks.resources import Resources, resources
from tasks.settling import settle
from tasks.triage import Triage

_ITEMS_READ = 50  # read from the inbox at once


@dataclass(kw_only=True)
class _Batch:
    """What one batch of items says, parsed; `errors` names the poison by item."""

    alerts: list[Alert] = field(default_factory=list[Alert])
    startless: set[AlertId] = field(default_factory=set[AlertId])
    changes: list[Change] = field(default_factory=list[Change])
    reports: list[Report] = field(default_factory=list[Report])
    contacts: dict[str, str] = field(default_factory=dict[str, str])  # report id -> where its author wants to be told
    errors: dict[str, str] = field(default_factory=dict[str, str])
    held: list[InboxItem] = field(default_factory=list[InboxItem])  # parts of items that could not be read


def drain_inbox(res: Resources, limit: int = 500) -> list[str]:
    """Triage about `limit` waiting events in order; returns the incidents opened or changed.

    Safe from several processes at once: the store admits one writer, who marks the items as processed in the same
    transaction. An item that breaks triage is set aside with its error, and the others are done without it.
    """
    with res.store.reading() as tx:
        waiting = len(tx.inbox.find({"processed_at": None}, limit=1))
    touched: list[str] = []
    if waiting:
        try:
            touched = _drain(res, limit)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one item that breaks triage must not stop the others: take them one by one
            touched = _drain_singly(res, limit)
    return list(dict.fromkeys([*touched, *settle(res)]))


def _drain(res: Resources, limit: int) -> list[str]:
    now = res.clock()
    with res.store.writing() as tx:
        return _triage(tx, res, _next_items(tx, limit), now)


def _next_items(tx: Transaction, limit: int) -> list[InboxItem]:
    """Whole items, until together they speak of `limit` events: a transaction stays short, whatever came in."""
    items: list[InboxItem] = []
    events = 0
    while events < limit:
        more = tx.inbox.find({"processed_at": None}, limit=_ITEMS_READ, offset=len(items))
        for item in more:
            items.append(item)
            events += item.events
            if events >= limit:
                break
        if len(more) < _ITEMS_READ:
            break
    return items


def _drain_singly(res: Resources, limit: int) -> list[str]:
    with res.store.reading() as tx:
        ids = [item.id for item in _next_items(tx, limit)]
    touched: dict[str, None] = {}
    for item_id in ids:
        touched.update(dict.fromkeys(_drain_one(res, item_id)))
    return list(touched)


def _drain_one(res: Resources, item_id: str) -> list[str]:
    now = res.clock()
    try:
        with res.store.writing() as tx:
            item = tx.inbox.get(item_id)
            return _triage(tx, res, [item], now) if item and item.processed_at is None else []
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - recorded on the item, where people see it
        with res.store.writing() as tx:
            item = tx.inbox.get(item_id)
            if item and item.processed_at is None:
                tx.inbox.put_all(_set_aside(item, f"triage failed: {type(error).__name__}: {error}", now))
        return []


def _set_aside(item: InboxItem, error: str, now: datetime) -> list[InboxItem]:
    """Hold one event; take several apart first, so that each waits for itself and only the guilty one is held."""
    if item.events == 1:
        return [_done(item, error, now)]
    return [replace(item, processed_at=now), *(_part(item, n, alert) for n, alert in enumerate(item.payload["alerts"]))]


def _part(item: InboxItem, number: int, alert: object) -> InboxItem:
    return replace(item, id=f"{item.id}/{number}", kind=InboxKind.ALERTS, payload={"alerts": [alert]})


def _triage(tx: Transaction, res: Resources, items: list[InboxItem], now: datetime) -> list[str]:
    batch = _parse(items, now)
    triage = Triage(tx, res.config, now)
    for change in sorted(batch.changes, key=lambda change: (change.at, change.id)):
        triage.take_change(change)
    triage.take_alerts(_merge(tx, batch))
    for report in sorted(batch.reports, key=lambda report: (report.at, report.id)):
        triage.take_report(report)
        if contact := batch.contacts.get(report.id):
            keep_contact(tx, res, report, contact)
    touched = triage.finish()
    tx.inbox.put_all([*(_done(item, batch.errors.get(item.id, ""), now) for item in items), *batch.held])
    return touched


def _done(item: InboxItem, error: str, now: datetime) -> InboxItem:
    if error:
        return replace(item, processed_at=now, error=error, quarantine=Quarantine.HELD)
    payload = item.payload
    if item.kind is InboxKind.REPORT:  # its author's address is kept elsewhere, and not for ever
        payload = {key: value for key, value in payload.items() if key != "contact"}
    return replace(item, payload=payload, processed_at=now, error="", quarantine=None)


def _parse(items: list[InboxItem], now: datetime) -> _Batch:
    batch = _Batch()
    for item in items:
        try:
            _parse_item(item, batch, now)
        except InvalidInput as error:
            batch.errors[item.id] = str(error)
    return batch


def _parse_item(item: InboxItem, batch: _Batch, now: datetime) -> None:
    match item.kind:
        case InboxKind.ALERTS:
            _parse_alerts(item, item.payload["alerts"], batch, now)
        case InboxKind.UNREADABLE:
            _parse_again(item, batch, now)
        case InboxKind.CHANGE:
            batch.changes.append(parse_change(item.payload, id=item.id, received_at=item.received_at))
        case InboxKind.REPORT:
            batch.reports.append(parse_report(item.payload, id=item.id, received_at=item.received_at))
            if contact := parse_contact(item.payload):
                batch.contacts[item.id] = contact
        case InboxKind.ALERT | InboxKind.ALERTMANAGER:
            is_webhook = item.kind is InboxKind.ALERTMANAGER and "alerts" in item.payload
            for payload in split_webhook(item.payload) if is_webhook else [item.payload]:
                _parse_alert(item, payload, batch)


def _parse_alert(item: InboxItem, payload: object, batch: _Batch) -> None:
    alert = parse_alert(payload, source=item.source, received_at=item.received_at)
    batch.alerts.append(alert)
    if not has_start(payload):
        batch.startless.add(alert.id)


def _parse_alerts(item: InboxItem, payloads: list[object], batch: _Batch, now: datetime) -> None:
    """Each by itself: one that cannot be read is held, and the others are taken."""
    for number, payload in enumerate(payloads):
        try:
            _parse_alert(item, payload, batch)
        except InvalidInput as error:
            if len(payloads) == 1:
                raise
            batch.held.append(_done(_part(item, number, payload), str(error), now))


def _parse_again(item: InboxItem, batch: _Batch, now: datetime) -> None:
    """A body that an earlier reading could not make out, after a person had it replayed."""
    kept = read_unreadable(item.payload)
    payload = parse_json(kept.body)
    if kept.form is Form.CHANGE:
        batch.changes.append(parse_change(payload, id=item.id, received_at=item.received_at))
    elif kept.form is Form.REPORT:
        batch.reports.append(parse_report(payload, id=item.id, received_at=item.received_at))
    else:
        _parse_alerts(item, split_alerts(kept.form, payload), batch, now)


def _merge(tx: Transaction, batch: _Batch) -> list[Alert]:
    """One alert per episode, merged with what is known, in order of start: arrival order does not matter."""
    by_id: dict[AlertId, list[Alert]] = {}
    for alert in batch.alerts:
        if alert.id in batch.startless:
            alert = _begun_earlier(tx, alert, by_id)
        by_id.setdefault(alert.id, []).append(alert)
    merged: list[Alert] = []
    for episode_id, news in by_id.items():
        known = tx.alerts.get(episode_id)
        ordered = sorted(news, key=lambda alert: (alert.updated_at, alert.status))
        merged.append(reduce(merge_alerts, [known, *ordered] if known else ordered))
    return sorted(merged, key=lambda alert: (alert.starts_at, alert.id))


def _begun_earlier(tx: Transaction, alert: Alert, batch: Mapping[AlertId, list[Alert]]) -> Alert:
    """A sender that gives no start speaks of the episode that fires now, if there is one (as in Alertmanager)."""
    firing = [news for found in batch.values() for news in found if news.fingerprint == alert.fingerprint]
    firing += _firing(tx, alert.fingerprint)
    if not firing:
        return alert
    latest = max(firing, key=lambda known: known.starts_at)
    return replace(alert, id=alert_id(alert.fingerprint, latest.starts_at), starts_at=latest.starts_at)


def _firing(tx: Transaction, mark: Fingerprint) -> list[Alert]:
    return tx.alerts.find({"fingerprint": mark, "status": AlertStatus.FIRING})


@task(name="drain-inbox", timeout_seconds=60)  # a batch takes well under a second; a minute means the database hangs
def drain() -> list[str]:
    """Triage what waits in the inbox."""
    return drain_inbox(resources())
