"""Mitigations that are being judged take minutes; what comes next is answered and settled at once all the same."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments import responder as responder_module
from deployments.responder import Responder, answering_pool
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from tasks.resources import Resources

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
JUDGED = 8


def test_an_incident_is_answered_and_all_is_reconciled_while_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    over, settled = threading.Event(), threading.Event()
    begun = {f"INC-{number}": threading.Event() for number in range(1, JUDGED + 2)}

    def respond(incident: str) -> None:
        begun[incident].set()
        over.wait(60)

    monkeypatch.setattr(responder_module, "respond", respond)
    monkeypatch.setattr(responder_module, "reconcile", settled.set)
    store = MemoryStore()
    config = Config(folder=Path(), connections=Connections(store="", prometheus=""))
    res = Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: T0)  # type: ignore[arg-type]
    with answering_pool() as pool:
        responder = Responder(res, pool)
        try:
            for id, is_begun in begun.items():
                with store.writing() as tx:
                    tx.incidents.add(_incident(id))
                responder.advance()
                assert is_begun.wait(10), f"{id} waits for those before it"
            responder.reconcile()
            assert settled.wait(10), "reconcile waits for mitigations that are judged"
        finally:
            over.set()


def _incident(id: str) -> Incident:
    return Incident(
        id=IncidentId(id),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title="errors",
        service="checkout",
        onset_at=T0,
        opened_at=T0,
        updated_at=T0,
        opened_because="test",
        opened_by="alertmanager",
    )
