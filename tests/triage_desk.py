"""A desk where tests of triage hand things in: a store in memory and a clock that the test moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections, Grouping
from quell.incidents.alert import Alert
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.incident import Incident
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.timeline import verify_chain
from quell.triage.rules import Rules
from tasks.intake import drain_inbox
from tasks.resources import Resources

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)


def service(name: str, instances: int, *needs: str, is_user_facing: bool = False) -> Service:
    return Service(
        name=name,
        team="shop",
        depends_on=needs,
        is_user_facing=is_user_facing,
        instances=tuple(Instance(name=f"{name}-{n}", service=name) for n in range(1, instances + 1)),
    )


def catalog(*services: Service) -> Catalog:
    return Catalog(services={one.name: one for one in services})


SHOP = catalog(
    service("storefront", 2, "checkout", "catalog", is_user_facing=True),
    service("checkout", 3, "payment"),
    service("payment", 2),
    service("catalog", 2),
    service("warehouse", 2, "catalog"),
    service("alone", 2),
)


@dataclass
class Desk:
    catalog: Catalog = SHOP
    rules: Rules = field(default_factory=Rules)
    grouping: Grouping = field(default_factory=Grouping)
    store: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = T0 + timedelta(minutes=1)
    sent: int = 0

    @property
    def res(self) -> Resources:
        connections = Connections(store="", prometheus="")
        config = Config(
            folder=Path(), connections=connections, catalog=self.catalog, rules=self.rules, grouping=self.grouping
        )
        return Resources(config=config, store=self.store, metrics=None, actuators={}, clock=lambda: self.now)  # type: ignore[arg-type]

    def send(self, payload: Mapping[str, Any], kind: InboxKind = InboxKind.ALERT, id: str | None = None) -> None:
        self.sent += 1
        id = id or f"item-{self.sent}"
        self.store.receive([InboxItem(id=id, kind=kind, source="test", payload=payload, received_at=self.now)])

    def drain(self) -> list[str]:
        return drain_inbox(self.res)

    def incidents(self) -> list[Incident]:
        with self.store.reading() as tx:
            return tx.incidents.find()

    def incident(self, id: str = "INC-1") -> Incident:
        with self.store.reading() as tx:
            found = tx.incidents.get(id)
        assert found is not None
        return found

    def alerts(self, incident: str | None = None) -> list[Alert]:
        """All of them as they came, or those of one incident by their start."""
        with self.store.reading() as tx:
            return tx.alerts.find({"incident": incident}, order="starts_at") if incident else tx.alerts.find()

    def kinds(self, id: str = "INC-1") -> list[str]:
        with self.store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []
            return [entry.kind for entry in tx.timeline.of(id)]
