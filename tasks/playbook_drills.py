"""Drills of playbooks: that one was exercised on purpose, by whom and with what result."""

from collections.abc import Mapping
from datetime import datetime

from quell.incidents.timeline import Event
from quell.ports import Document, Transaction
from tasks.playbooks import get_playbook
from tasks.resources import Resources

_KIND = "playbook drill"
_MOST = 1000


def record_drill(res: Resources, playbook: str, *, by: str, note: str) -> None:
    """Remember that the playbook was exercised, and say so on the timeline. Raises InvalidInput for an unknown one."""
    name, now = get_playbook(res, playbook).name, res.clock()
    body = {"playbook": name, "by": by, "note": note}
    with res.store.writing() as tx:
        tx.documents.put(Document(id=f"{_KIND} {name} {now.isoformat()}", kind=_KIND, updated_at=now, body=body))
        event = Event(incident=None, at=now, kind="playbook drilled", by=by, text=f"{name}: {note}", subject=name)
        tx.timeline.append(event)


def last_drills(tx: Transaction) -> Mapping[str, datetime]:
    """Playbook -> when it was drilled last."""
    found = tx.documents.find({"kind": _KIND}, order="updated_at", descending=True, limit=_MOST)
    return {str(document.body["playbook"]): document.updated_at for document in reversed(found)}
