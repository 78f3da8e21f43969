"""kill -9 of the gateway and of the drainer at random moments under load: what was acknowledged is never lost.

The gateway (its real application under uvicorn) and the drainer (what the responder does with the inbox) run in
processes of their own, forked from one that has loaded their code, so that a new one is there within a tenth of a
second. Senders resend what was not acknowledged, as Alertmanager does. At the end everything is drained, and the store
is asked.
"""

import json
import multiprocessing
import random
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from benchmarks.intake_ledger import Ledger, settle_and_judge
from benchmarks.report import print_json, print_table
from deployments.sandbox.ports import free_port
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.service import Catalog, Instance, Service

SERVICES = 20
SENDERS = 4
SHORTEST_LIFE, LONGEST_LIFE = 0.15, 0.9  # seconds until a process is killed, from when it works
ANSWER_WITHIN = 10.0
NOTHING: Any = None  # draining asks for no metrics
_WEBHOOK, _CHANGES, _REPORTS = "/api/v1/alerts/alertmanager", "/api/v1/changes", "/api/v1/reports"


# ---- the processes that die ---------------------------------------------------------------------------------------


def config_of(store: str) -> Config:
    services = {
        name: Service(name=name, team="shop", instances=(Instance(name=f"{name}-1", service=name),))
        for name in (f"service{n}" for n in range(SERVICES))
    }
    return Config(
        folder=Path(),
        connections=Connections(store=store, prometheus=""),
        catalog=Catalog(services=services),
    )


def serve(store: str, port: int) -> None:
    """The gateway, until it is killed."""
    import uvicorn

    from quell.gateway.app import create_app
    from quell.gateway.deps import GatewayDeps

    def decide(**_given: str) -> Any:
        raise AssertionError("nobody decides here")

    deps = GatewayDeps(store=SqlStore(store), config=config_of(store), clock=now, decide=decide, run_url=str)
    uvicorn.run(create_app(deps), host="127.0.0.1", port=port, log_level="critical", lifespan="off")


def drain_on(store: str, working: Any) -> None:
    """The drainer, until it is killed."""
    from quell.incidents.errors import Unavailable
    from tasks.intake import drain_inbox
    from tasks.resources import Resources

    res = Resources(config=config_of(store), store=SqlStore(store), metrics=NOTHING, actuators={}, clock=now)
    working.set()
    while True:
        with suppress(Unavailable):  # the database is busy: the next round
            drain_inbox(res, 50)
        time.sleep(0.01)


def now() -> datetime:
    return datetime.now(UTC)


# ---- the torture --------------------------------------------------------------------------------------------------


def torture(store: str, *, kills: int, seed: int) -> tuple[Ledger, list[str]]:
    """Kill the gateway and the drainer `kills` times in all; returns what was sent, and each promise that is broken."""
    SqlStore(store).close()  # its migrations, once
    ledger, chance = Ledger(), random.Random(seed)
    port, stopping = free_port(), threading.Event()
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(["benchmarks.intake_kills", "quell.gateway.app", "tasks.intake", "uvicorn"])
    lives = {
        "gateway": lambda: _start_gateway(starter, store, port),
        "drainer": lambda: _start_drainer(starter, store),
    }
    quota = {"gateway": kills - kills // 2, "drainer": kills // 2}
    killers = [
        threading.Thread(target=_kill_often, args=(name, lives[name], quota[name], chance.random(), ledger))
        for name in lives
    ]
    senders = [threading.Thread(target=_send, args=(number, port, ledger, stopping)) for number in range(SENDERS)]
    for thread in (*killers, *senders):
        thread.start()
    for thread in killers:
        thread.join()
    if ledger.faults:
        stopping.set()
        return ledger, ledger.faults
    last = [start() for start in lives.values()]
    stopping.set()
    for thread in senders:
        thread.join()
    try:
        return ledger, [*ledger.faults, *settle_and_judge(store, ledger)]
    finally:
        for process in last:
            process.kill()
            process.join()


def _start_gateway(starter: Any, store: str, port: int) -> Any:
    process = starter.Process(target=serve, args=(store, port), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.is_alive():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.01)
    raise RuntimeError("the gateway does not start")


def _start_drainer(starter: Any, store: str) -> Any:
    working = starter.Event()
    process = starter.Process(target=drain_on, args=(store, working), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.is_alive():
        if working.wait(0.2):
            return process
    raise RuntimeError("the drainer does not start")


def _kill_often(name: str, start: Callable[[], Any], times: int, seed: float, ledger: Ledger) -> None:
    chance = random.Random(seed)
    try:
        for _ in range(times):
            process = start()
            time.sleep(chance.uniform(SHORTEST_LIFE, LONGEST_LIFE))
            process.kill()
            process.join()
            ledger.kills[name] += 1
    except Exception as error:  # noqa: BLE001 - told as a broken promise, not lost in a thread
        ledger.faults.append(f"{name}: {error}")


def _send(number: int, port: int, ledger: Ledger, stopping: threading.Event) -> None:
    """Send batch after batch, each again and again until it is acknowledged."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_WITHIN, trust_env=False) as client:
        batch = 0
        while not stopping.is_set():
            batch += 1
            mark = f"{number}-{batch}"
            names = [f"{mark}-{place}" for place in range(1 + batch % 8)]
            if _until_taken(client, _WEBHOOK, {"version": "4", "alerts": [_alert(n) for n in names]}, ledger):
                ledger.alerts.update(names)
            if batch % 5 == 0:
                change = {"id": mark, "kind": "deploy", "service": f"service{number}", "summary": mark}
                if _until_taken(client, _CHANGES, change, ledger):
                    ledger.changes.add(f"change:{mark}")
            if batch % 7 == 0:
                report = {"id": mark, "text": f"{mark} is slow today", "reporter": mark}
                if _until_taken(client, _REPORTS, report, ledger):
                    ledger.reports.add(f"report:{mark}")


def _alert(name: str) -> dict[str, Any]:
    number = int(name.rsplit("-", 1)[1])
    labels = {"alertname": "Down", "service": f"service{hash_of(name) % SERVICES}", "check": name}
    at = datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=number)
    status = "resolved" if number % 4 == 3 else "firing"
    return {"status": status, "labels": labels, "startsAt": at.isoformat()}


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def _until_taken(client: httpx.Client, path: str, body: dict[str, Any], ledger: Ledger) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ledger.faults:
        with suppress(httpx.TransportError):  # it was killed: nothing was acknowledged
            answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
            if answer.is_success:
                return True
            if answer.status_code not in (429, 503):
                ledger.faults.append(f"{path} answered {answer.status_code}: {answer.text[:200]}")
                return False
        with ledger.lock:
            ledger.resent += 1
        time.sleep(0.02)
    ledger.faults.append(f"{path} was not taken within a minute")
    return False


def kill_report(kills: int, *, as_json: bool) -> None:
    """Both databases, a table."""
    from benchmarks.postgres import throwaway_postgres

    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="quell-kills-") as folder, throwaway_postgres(durable=True) as url:
        for name, store in (("sqlite", f"sqlite:///{folder}/quell.db"), ("postgresql", url)):
            ledger, broken = torture(store, kills=kills, seed=1)
            figures[name] = {
                "gateway_kills": ledger.kills["gateway"],
                "drainer_kills": ledger.kills["drainer"],
                "acknowledged_alerts": len(ledger.alerts),
                "acknowledged_changes_and_reports": len(ledger.changes) + len(ledger.reports),
                "sent_again": ledger.resent,
                "broken_promises": broken,
            }
    if as_json:
        print_json(figures)
        return
    rows = [(name, *map(str, f.values())) for name, f in figures.items()]
    columns = (
        "",
        "gateway kills",
        "drainer kills",
        "alerts acknowledged",
        "other events",
        "sent again",
        "broken promises",
    )
    print_table("Killed under load", columns, rows)
