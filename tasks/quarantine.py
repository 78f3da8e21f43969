"""What is held in quarantine, and what a person does about it: replay it, or discard it with a reason."""

from dataclasses import replace

from quell.incidents.errors import InvalidInput, NotFound, Refused
from quell.incidents.inbox import InboxItem, Quarantine
from quell.incidents.timeline import Event
from quell.ports import Transaction
from tasks.intake import drain_inbox
from tasks.resources import Resources


def find_quarantined(tx: Transaction, id: str) -> InboxItem:
    """By its id, or by a beginning of it that only one held item has. Raises NotFound or InvalidInput."""
    item = tx.inbox.get(id)
    if item is not None and item.quarantine is not None:
        return item
    held = tx.inbox.find({"quarantine": Quarantine.HELD}) if id else []
    found = [item for item in held if item.id.startswith(id) or item.id.partition(":")[2].startswith(id)]
    if len(found) > 1:
        raise InvalidInput(f'"{id}" begins the ids of {len(found)} held items: give more of the id')
    if not found:
        raise NotFound(f'no item "{id}" in quarantine; `quell inbox list` shows those that are')
    return found[0]


def replay(res: Resources, id: str, *, by: str) -> InboxItem:
    """Put it through triage again, now; returns what became of it, which may be held once more with its reason."""
    with res.store.writing() as tx:
        item = _held(tx, id)
        tx.inbox.put(replace(item, processed_at=None, quarantine=None))
        _note(tx, res, item, "event replayed", by, f"replayed; it was held because: {item.error}")
    drain_inbox(res)
    with res.store.reading() as tx:
        return tx.inbox.get(item.id) or item


def discard(res: Resources, id: str, *, by: str, why: str) -> InboxItem:
    """Never triage it. It stays in the store, and the timeline says who discarded it and why."""
    if not why.strip():
        raise InvalidInput("the reason is empty: say why this event is not needed")
    with res.store.writing() as tx:
        item = replace(_held(tx, id), quarantine=Quarantine.DISCARDED)
        tx.inbox.put(item)
        _note(tx, res, item, "event discarded", by, f"discarded: {why.strip()} (held because: {item.error})")
    return item


def _held(tx: Transaction, id: str) -> InboxItem:
    item = find_quarantined(tx, id)
    if item.quarantine is not Quarantine.HELD:
        raise Refused(f"item {item.id} is {item.quarantine}: only held items can be replayed or discarded")
    return item


def _note(tx: Transaction, res: Resources, item: InboxItem, kind: str, by: str, text: str) -> None:
    evidence = {"source": item.source, "received_at": item.received_at.isoformat()}
    event = Event(incident=None, at=res.clock(), kind=kind, by=by, text=text, subject=item.id, evidence=evidence)
    tx.timeline.append(event)
