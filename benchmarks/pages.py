"""Pages: an incident with 10,000 open alerts, the list and the API over 100,000 incidents, and how soon a stream tells.

`--store sqlite` (default, a temporary file) or the address of an empty PostgreSQL. Over HTTP, client on the same cores.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from deployments.gateway import serving
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import Event

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BUSY = IncidentId("INC-100000")
SERVICES = [f"service-{number}" for number in range(200)]
ENDED = (IncidentState.CLOSED, IncidentState.REVIEWED, IncidentState.DISMISSED)
CLIENTS = 50


def incident(number: int, total: int, dice: random.Random) -> Incident:
    service, at = dice.choice(SERVICES), T0 + timedelta(minutes=3 * number)
    reason = "its error ratio rose first, 2 s before the others; configuration change 4f1c2d9 90 s before onset"
    return Incident(
        id=IncidentId(f"INC-{number}"),
        state=IncidentState.TRIAGED if number > total - 30 else dice.choice(ENDED),
        severity=dice.choice(list(Severity)),
        title=f"{service}-2 errors: {dice.randrange(99)} % of requests fail, users affected",
        service=service,
        onset_at=at,
        opened_at=at,
        updated_at=at,
        opened_because="InstanceErrors: nothing near it in time or in the call graph, so it opens an incident",
        opened_by="alertmanager",
        suspects=tuple(Suspect(node=f"{service}-{n}", metric="m", score=0.5, reason=reason) for n in range(3)),
        keywords=("InstanceErrors", service, "critical", f"host-{dice.randrange(5000)}", "eu-1"),
    )


def alert(number: int) -> Alert:
    at = T0 + timedelta(minutes=300_000, milliseconds=number)
    service = SERVICES[number % 30]
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"{number:016x}"),
        status=AlertStatus.FIRING,
        labels={"alertname": f"Errors{number % 3}", "service": service, "instance": f"pod-{number}", "zone": "eu-1"},
        annotations={"summary": f"pod-{number} fails 12 % of its requests"},
        starts_at=at,
        source="alertmanager",
        received_at=at,
        updated_at=at,
        outcome=AlertOutcome.JOINED,
        outcome_reason="it depends on service-1, whose alerts began 4 s before",
        incident=BUSY,
    )


def fill(store: SqlStore, incidents: int, alerts: int) -> None:
    dice = random.Random(4)
    for start in range(1, incidents + 1, 5000):
        with store.writing() as tx:
            tx.incidents.put_all(incident(n, incidents, dice) for n in range(start, min(start + 5000, incidents + 1)))
    with store.writing() as tx:
        tx.incidents.put(replace(incident(incidents, incidents, dice), id=BUSY, state=IncidentState.TRIAGED))
        tx.alerts.put_all(alert(number) for number in range(alerts))
        for number in range(alerts):
            event = Event(incident=BUSY, at=T0, kind="alert joined", by="quell", text=f"Errors of pod-{number} join it")
            tx.timeline.append(event)
    engine = store._engine
    if engine.dialect.name == "postgresql":  # what autovacuum does by itself a minute later
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def serve(store: SqlStore) -> Iterator[str]:
    config = Config(
        folder=Path(),
        connections=Connections(store="", prometheus=""),
    )

    def decide(**_: Any) -> Any:
        raise NotImplementedError

    deps = GatewayDeps(store=store, config=config, clock=lambda: datetime.now(UTC), decide=decide, run_url=str)
    with serving(create_app(deps)) as url:
        yield url


def ask(client: httpx.Client, path: str, times: int) -> dict[str, float]:
    took: list[float] = []
    size = 0
    for _ in range(times):
        began = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    return {**spread(took), "kB": round(size / 1024, 1)}


def spread(milliseconds: list[float]) -> dict[str, float]:
    p95 = statistics.quantiles(milliseconds, n=20, method="inclusive")[-1]
    return {"median_ms": round(statistics.median(milliseconds), 1), "p95_ms": round(p95, 1)}


async def fan_out(url: str, store: SqlStore, changes: int) -> dict[str, float]:
    """From a change's commit until each of 50 clients has the event."""
    heard: list[float] = []
    wrote = 0.0
    ready = asyncio.Semaphore(0)

    async def listen(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", f"{url}/incidents/{BUSY}/events") as stream:
            async for line in stream.aiter_lines():
                if line == ": hello":
                    ready.release()
                elif line == "event: change":
                    heard.append((time.perf_counter() - wrote) * 1000)

    def change() -> None:
        with store.writing() as tx:
            tx.timeline.append(Event(incident=BUSY, at=T0, kind="note", by="bench", text="something changed"))

    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=CLIENTS)) as client:
        tasks = [asyncio.create_task(listen(client)) for _ in range(CLIENTS)]
        for _ in range(CLIENTS):
            await ready.acquire()
        for number in range(1, changes + 1):
            await asyncio.to_thread(change)
            wrote = time.perf_counter()
            while len(heard) < number * CLIENTS:
                await asyncio.sleep(0.005)
            await asyncio.sleep(random.random() / 4)  # not in step with the gateway's looks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return spread(heard)


def measure(url: str, *, incidents: int, alerts: int, times: int) -> dict[str, Any]:
    store = SqlStore(url)
    fill(store, incidents, alerts)
    middle = f"{T0 + timedelta(minutes=3 * incidents // 2):%Y-%m-%dT%H:%M:%SZ}~INC-{incidents // 2}"
    paths = {
        f"incident, {alerts:,} open alerts": f"/incidents/{BUSY}",
        "its alerts, one group": f"/incidents/{BUSY}/alerts?service=service-1&name=Errors1",
        "its alerts, searched": f"/incidents/{BUSY}/alerts?q=pod-777",
        f"list of {incidents:,}, first page": "/",
        "list, a page in the middle": f"/?after={middle}",
        "list, active": "/?state=active",
        "list, service and severity": "/?service=service-7&severity=major",
        "list, rare word": "/?q=host-4321",
        "list, word that is nowhere": "/?q=nowhere-at-all",
        "list, frequent words": "/?q=users+affected",
        "list, word in the middle, by change": f"/?sort=updated&q=host-43&after={middle}",
        "API, first page": "/api/v1/incidents",
        "API, rare word": "/api/v1/incidents?q=host-4321",
    }
    with serve(store) as address:
        with httpx.Client(base_url=address, timeout=60) as client:
            client.get("/")
            found: dict[str, Any] = {name: ask(client, path, times) for name, path in paths.items()}
        found[f"change to event, {CLIENTS} clients"] = asyncio.run(fan_out(address, store, times))
    store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="sqlite", help="sqlite, or the address of an empty PostgreSQL")
    parser.add_argument("--incidents", type=int, default=100_000)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/record.db" if given.store == "sqlite" else given.store
        found = measure(url, incidents=given.incidents, alerts=given.alerts, times=given.times)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{'':42}{'median':>12}{'p95':>12}{'size':>12}")
    for name, figures in found.items():
        size = f"{figures['kB']} kB" if "kB" in figures else ""
        print(f"{name:42}{figures['median_ms']:>9} ms{figures['p95_ms']:>9} ms{size:>12}")


if __name__ == "__main__":
    main()
