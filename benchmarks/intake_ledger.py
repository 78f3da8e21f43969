"""What senders were promised while processes died, and whether the store keeps it."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from quell.adapters.store.sql import SqlStore
from quell.incidents.alert import AlertOutcome
from quell.incidents.inbox import Quarantine
from quell.incidents.incident import Incident
from quell.incidents.timeline import verify_chain


@dataclass(kw_only=True)
class Ledger:
    """What the senders know: what was acknowledged, and how often they had to send again."""

    alerts: set[str] = field(default_factory=set[str])
    changes: set[str] = field(default_factory=set[str])
    reports: set[str] = field(default_factory=set[str])
    resent: int = 0
    kills: dict[str, int] = field(default_factory=lambda: {"gateway": 0, "drainer": 0})
    faults: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)


def settle_and_judge(url: str, ledger: Ledger) -> list[str]:
    """Wait until the inbox is drained; returns each promise that is broken."""
    store = SqlStore(url)
    try:
        if not _drained(store):
            return ["the inbox was not drained within two minutes"]
        return _judge(store, ledger)
    finally:
        store.close()


def _drained(store: SqlStore) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with store.reading() as tx:
            if tx.inbox.count({"processed_at": None}) == 0:
                return True
        time.sleep(0.2)
    return False


def _judge(store: SqlStore, ledger: Ledger) -> list[str]:
    with store.reading() as tx:
        alerts = tx.alerts.find()
        incidents = {incident.id: incident for incident in tx.incidents.find()}
        changes, reports = {c.id for c in tx.changes.find()}, {r.id for r in tx.reports.find()}
        held = tx.inbox.count({"quarantine": Quarantine.HELD})
        broken = [f"the timeline is broken: {fault}" for fault in verify_chain(tx.timeline.entries())]
    found = [alert.labels["check"] for alert in alerts if "check" in alert.labels]
    for what, sent, stored in (
        ("alerts", ledger.alerts, set(found)),
        ("changes", ledger.changes, changes),
        ("reports", ledger.reports, reports),
    ):
        if lost := sent - stored:
            broken.append(f"{len(lost)} acknowledged {what} are lost, such as {min(lost)}")
    if len(found) != len(set(found)):
        broken.append(f"{len(found) - len(set(found))} alerts are in the store twice")
    if undecided := [alert.id for alert in alerts if alert.outcome is None]:
        broken.append(f"{len(undecided)} alerts have no outcome")
    if held:
        broken.append(f"{held} items are in quarantine, though all can be read")
    return broken + _miscounted(incidents, [(a.incident, a.outcome) for a in alerts])


def _miscounted(incidents: dict[Any, Incident], placed: list[tuple[str | None, AlertOutcome | None]]) -> list[str]:
    """An alert that was placed twice, or half, shows in what its incident has counted."""
    broken: list[str] = []
    for incident in incidents.values():
        holds = sum(1 for id, _ in placed if id == incident.id)
        counted = incident.tally.alerts if incident.tally else 0
        if holds != counted:
            broken.append(f"{incident.id} counts {counted} alerts and holds {holds}")
    openers = sum(1 for _, outcome in placed if outcome is AlertOutcome.OPENED)
    if openers != len(incidents):
        broken.append(f"{openers} alerts opened {len(incidents)} incidents")
    return broken
