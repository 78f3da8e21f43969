"""Changes of status beside 10,000 open alerts, each through the real path on a real database.

`python -m benchmarks.status_change [--store sqlite|postgresql] [--alerts N] [--rounds N] [--json]`

Three shapes: all alerts in one incident, an incident for each 100 alerts, and one for each alert. Each figure is the
time from the inbox to the commit: what a person, or the next alert, has to wait for.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.postgres import throwaway_postgres
from benchmarks.report import parser, print_json, print_table
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.timeline import Event
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tasks.silences import add_silence, end_silence

BEFORE_DRAIN = 500  # alerts
SHAPES = {"one incident": (100, True), "an incident per service": (100, False), "an incident per alert": (1, False)}


class Desk:
    """A store with a clock, and what the benchmark sends."""

    def __init__(self, url: str, services: int, per_service: int, *, are_related: bool) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.fill_seconds = 0.0
        self.sent = 0
        self.per_service = per_service
        names = [f"service-{n}" for n in range(services)]
        needs = ("service-0",) if are_related else ()
        catalog = Catalog(
            services={
                name: Service(
                    name=name,
                    team="t",
                    depends_on=() if name == "service-0" else needs,
                    is_user_facing=True,
                    instances=tuple(Instance(name=f"{name}-{n}", service=name) for n in range(per_service)),
                )
                for name in names
            }
        )
        config = Config(
            folder=Path(),
            connections=Connections(store="", prometheus=""),
            catalog=catalog,
        )
        self.store = SqlStore(url)
        self.res = Resources(config=config, store=self.store, metrics=None, actuators={}, clock=lambda: self.now)  # type: ignore[arg-type]

    def alert(self, service: int, instance: int, *, at: datetime, is_over: bool = False) -> dict[str, Any]:
        return {
            "labels": {
                "alertname": "InstanceErrors",
                "severity": "critical",
                "service": f"service-{service}",
                "instance": f"service-{service}-{instance}",
            },
            "annotations": {"value": str(0.2 + instance % 7 / 10), "expected": "0.01"},
            "startsAt": at.isoformat(),
            "status": "resolved" if is_over else "firing",
            "endsAt": self.now.isoformat() if is_over else None,
        }

    def send(self, *payloads: dict[str, Any], kind: InboxKind = InboxKind.ALERT) -> None:
        items: list[InboxItem] = []
        for payload in payloads:
            self.sent += 1
            items.append(
                InboxItem(id=f"item-{self.sent}", kind=kind, source="am", payload=payload, received_at=self.now)
            )
        self.store.receive(items)

    def drain(self) -> None:
        drain_inbox(self.res)


@contextmanager
def filled(store: str, alerts: int, per_service: int, *, are_related: bool) -> Iterator[Desk]:
    with ExitStack() as stack:
        if store == "postgresql":
            url = stack.enter_context(throwaway_postgres(durable=True))
        else:
            url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory(prefix='quell-status-'))}/record.db"
        services = alerts // per_service
        desk = Desk(url, services, per_service, are_related=are_related)
        stack.callback(desk.store.close)
        start = desk.now
        began = time.perf_counter()
        for service in range(services):
            desk.send(*(desk.alert(service, n, at=start) for n in range(per_service)))
            if (service + 1) * per_service % BEFORE_DRAIN == 0:
                desk.drain()
        desk.drain()
        desk.fill_seconds = time.perf_counter() - began
        yield desk


def measure(desk: Desk, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each change, over services and instances spread evenly."""
    seconds: dict[str, list[float]] = {}
    services = len(desk.res.config.catalog.services)
    start = desk.now

    def timed(name: str, do: Callable[[], object]) -> None:
        began = time.perf_counter()
        do()
        seconds.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    for n in range(rounds):
        service, instance = n * 7 % services, n * 13 % desk.per_service
        desk.now += timedelta(seconds=5)
        desk.send(desk.alert(service, instance, at=start, is_over=True))
        timed("resolve", desk.drain)
        desk.now += timedelta(seconds=5)
        desk.send(desk.alert(service, instance, at=desk.now))
        timed("refire", desk.drain)
        change = {"service": f"service-{service}", "kind": "deploy", "summary": "s", "at": desk.now.isoformat()}
        desk.send(change, kind=InboxKind.CHANGE)
        timed("change, suspects anew", desk.drain)
        timed("acknowledge", lambda: _acknowledge(desk))
        timed("silence", lambda n=n: _silence(desk, n))
        timed("nothing to do", desk.drain)
    return seconds


def _acknowledge(desk: Desk) -> None:
    with desk.store.writing() as tx:
        (incident,) = tx.incidents.find(order="opened_at", limit=1)
        tx.incidents.put(replace(incident, acknowledged_at=desk.now, updated_at=desk.now))
        event = Event(incident=incident.id, at=desk.now, kind="incident acknowledged", by="b", text="t")
        tx.timeline.append(event)


def _silence(desk: Desk, n: int) -> None:
    end = desk.now + timedelta(hours=1)
    silence = add_silence(desk.res, f"service=service-{n}", ends_at=end, by="bench", comment="c")
    end_silence(desk.res, silence.id, by="bench")
    desk.drain()


def run(store: str, alerts: int, rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"store": store, "alerts": alerts, "shapes": {}}
    for name, (per_service, are_related) in SHAPES.items():
        with filled(store, alerts, per_service, are_related=are_related) as desk:
            with desk.store.reading() as tx:
                incidents = tx.incidents.count()
            found = measure(desk, rounds)
            figures["shapes"][name] = {
                "incidents": incidents,
                "fill_alerts_per_second": alerts / desk.fill_seconds,
                "p95_ms": {what: float(np.percentile(ms, 95)) for what, ms in found.items()},
                "median_ms": {what: float(np.median(ms)) for what, ms in found.items()},
            }
    return figures


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite", help="a throwaway database of it")
    asked.add_argument("--alerts", type=int, default=10_000)
    asked.add_argument("--rounds", type=int, default=40)
    options = asked.parse_args()
    figures = run(options.store, options.alerts, options.rounds)
    if options.json:
        print_json(figures)
        return
    for name, shape in figures["shapes"].items():
        rows = [(what, shape["median_ms"][what], p95) for what, p95 in shape["p95_ms"].items()]
        title = f"{options.store}: {figures['alerts']} open alerts, {name} ({shape['incidents']})"
        print_table(f"{title}: ms", ("change", "median", "p95"), rows)
        print(f"filled at {shape['fill_alerts_per_second']:.0f} alerts/s\n")


if __name__ == "__main__":
    main()
