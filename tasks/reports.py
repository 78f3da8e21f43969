"""Authors of users' reports: how they can be told that it is over, kept apart from what pages and JSON show."""

import hashlib
import re
from datetime import datetime, timedelta

from quell.incidents.report import Report
from quell.ports import Document, Transaction
from quell.triage.notification import Message
from tasks.resources import Resources

_LONGEST_KEPT = timedelta(days=7)
CONTACT = "report-contact"  # the kind of the document while the report waits; with `:INC-1` once it belongs to one


def keep_contact(tx: Transaction, res: Resources, report: Report, contact: str) -> None:
    """Keep the address that the author left; nothing is kept where nobody would send, or where it is no address."""
    reporters = res.config.notifying.reporters
    if reporters is None or not re.fullmatch(reporters.contact_pattern, contact):
        return
    kept = tx.reports.get(report.id)
    incident = kept.incident if kept else None
    if kept is not None and kept.part_of and (first := tx.reports.get(kept.part_of)):
        incident = first.incident
    kind = f"{CONTACT}:{incident}" if incident else CONTACT
    body = {"address": contact, "report": report.id}
    tx.documents.put(Document(id=_id(report.id), kind=kind, updated_at=report.at, body=body))


def attach_contact(tx: Transaction, report_id: str, incident: str) -> None:
    """The report belongs to an incident now: its author is told when that is over."""
    found = tx.documents.get(_id(report_id))
    if found is not None:
        kind = f"{CONTACT}:{incident}"
        tx.documents.put(Document(id=found.id, kind=kind, updated_at=found.updated_at, body=found.body))


def contacts_of(tx: Transaction, incident: str, *, limit: int) -> list[str]:
    """The reports whose authors shall be told, one for each address, the earliest first."""
    found = tx.documents.find({"kind": f"{CONTACT}:{incident}"}, order="updated_at")
    by_address: dict[str, str] = {}
    for document in found:
        mark = hashlib.sha256(str(document.body["address"]).casefold().encode()).hexdigest()
        by_address.setdefault(mark, str(document.body["report"]))
    for document in found:
        if str(document.body["report"]) not in by_address.values():
            tx.documents.delete(document.id)  # the same address once more
    return list(by_address.values())[:limit]


def forget_old_contacts(tx: Transaction, now: datetime) -> None:
    """An address whose report never belonged to an incident is not kept for ever."""
    for document in tx.documents.find({"kind": CONTACT}, before=("updated_at", now - _LONGEST_KEPT)):
        tx.documents.delete(document.id)


def contact_address(tx: Transaction, report_id: str) -> str | None:
    found = tx.documents.get(_id(report_id))
    return str(found.body["address"]) if found else None


def forget_contact(tx: Transaction, report_id: str) -> None:
    """Once told, or given up, nobody needs the address any more."""
    tx.documents.delete(_id(report_id))


def reporter_message(incident: str | None) -> Message:
    """It repeats nothing of the report: whoever gave somebody else's address must not send them words through us."""
    text = (
        "You reported trouble and asked to be told when it is over. It is over now. Thank you for telling us; "
        f"your address is deleted with this message. ({incident})"
    )
    return Message(title="What you reported is over", text=text, markdown=text)


def _id(report_id: str) -> str:
    return f"{CONTACT}:{report_id}"
