"""The kill switch: one record that every next step reads. Undo does not ask it."""

from quell.incidents.timeline import Event
from quell.ports import Document, Transaction
from tasks.resources import Resources

_ID = "automation"


def automation_enabled(tx: Transaction) -> bool:
    """Whether Quell may act; on until somebody switches it off."""
    document = tx.documents.get(_ID)
    return True if document is None else bool(document.body.get("enabled", False))


def set_automation(res: Resources, enabled: bool, by: str, why: str) -> None:
    """Switch automation on or off, for everything and at once, and say so on the timeline."""
    now = res.clock()
    body = {"enabled": enabled, "by": by, "at": now.isoformat(), "why": why}
    with res.store.writing() as tx:
        tx.documents.put(Document(id=_ID, kind="automation", updated_at=now, body=body))
        word = "on" if enabled else "off"
        tx.timeline.append(Event(incident=None, at=now, kind=f"automation {word}", by=by, text=why, subject=_ID))
