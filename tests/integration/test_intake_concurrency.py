"""Several processes may drain one inbox: every event is triaged once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.service import Catalog, Service
from quell.incidents.timeline import verify_chain
from tasks.intake import drain_inbox
from tasks.resources import Resources

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALERTS = 120


def opened(url: str) -> Resources:
    """What one process would hold: a store of its own on the shared database."""
    config = Config(
        folder=Path(),
        connections=Connections(store=url, prometheus=""),
        catalog=Catalog(services={"checkout": Service(name="checkout", team="shop")}),
    )
    return Resources(config=config, store=SqlStore(url), metrics=None, actuators={}, clock=lambda: NOW)  # type: ignore[arg-type]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'quell.db'}"
    postgres: str = request.getfixturevalue("postgres_url")
    return postgres


def test_two_drains_of_one_inbox_open_one_incident_and_lose_nothing(url: str) -> None:
    desks = [opened(url), opened(url), opened(url)]
    desks[0].store.receive(
        InboxItem(
            id=f"item-{n}",
            kind=InboxKind.ALERT,
            source="test",
            payload={"labels": {"alertname": f"A{n}", "service": "checkout"}, "startsAt": NOW.isoformat()},
            received_at=NOW,
        )
        for n in range(ALERTS)
    )

    def drain(res: Resources) -> None:
        while drain_inbox(res, limit=7):
            pass

    with ThreadPoolExecutor(len(desks)) as pool:
        list(pool.map(drain, desks))
    with desks[0].store.reading() as tx:
        assert tx.incidents.count() == 1
        assert tx.alerts.count() == ALERTS
        assert tx.alerts.count({"outcome": "opened"}) == 1
        assert tx.alerts.count({"outcome": "joined"}) == ALERTS - 1
        assert tx.inbox.count({"processed_at": None}) == 0
        assert verify_chain(tx.timeline.entries()) == []
    for desk in desks:
        desk.store.close()
