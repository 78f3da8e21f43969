"""kill -9 of the gateway and of the drainer at random moments under load, and what the store holds afterwards.

A small process imports the program once and forks a gateway or a drainer whenever one is asked for: a restart costs
its start, not its imports. Senders repeat a request until it is acknowledged, as Alertmanager does.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.intake import TOKEN, free_port, write_config
from benchmarks.postgres import throwaway_postgres
from benchmarks.report import print_json, print_table
from quell.adapters.store.sql import SqlStore
from quell.incidents.timeline import verify_chain

_A_REQUEST = 8  # alerts
_SENDERS = 3
_PATIENCE = 60.0  # seconds for any one thing to happen

_FORKER = """
import os, signal, sys, time
from deployments import gateway
from tasks.intake import drain_inbox
from tasks.resources import resources
from quell.incidents.errors import Unavailable

def drain():
    res = resources()
    while True:
        try:
            drain_inbox(res, 100)
        except Unavailable:
            pass
        time.sleep(0.01)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        {"gateway": gateway.main, "drainer": drain}[line.strip()]()
        os._exit(1)
    print(child, flush=True)
"""


@dataclass(kw_only=True)
class Load:
    """What was sent: instances by whether their request was acknowledged, and how often requests were repeated."""

    acknowledged: list[str] = field(default_factory=list[str])
    repeated: int = 0
    refused: Counter[int] = field(default_factory=Counter[int])
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def _processes(folder: Path) -> Iterator[Any]:
    environment = {**os.environ, "QUELL_CONFIG": str(folder), "QUELL_DATA": str(folder / "data")}
    forker = subprocess.Popen(
        [sys.executable, "-c", _FORKER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert forker.stdin is not None
    assert forker.stdout is not None
    stdin, stdout, running = forker.stdin, forker.stdout, dict[str, int]()

    def restart(name: str) -> None:
        if name in running:
            os.kill(running[name], signal.SIGKILL)
        stdin.write(f"{name}\n")
        stdin.flush()
        running[name] = int(stdout.readline())

    try:
        yield restart
    finally:
        for child in running.values():
            os.kill(child, signal.SIGKILL)
        forker.kill()
        forker.wait()
        stdin.close()
        stdout.close()


def _send(number: int, port: int, load: Load) -> None:
    count = 0
    with httpx.Client(trust_env=False, timeout=10, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        while not load.stop.is_set():
            names = [f"{number}-{count}-{n}" for n in range(_A_REQUEST)]
            count += 1
            body = [_alert(name) for name in names]
            while not _is_taken(client, port, body, load):
                load.repeated += 1
                time.sleep(0.05)
            load.acknowledged.extend(names)
            time.sleep(0.02)


def _alert(instance: str) -> dict[str, Any]:
    labels = {"alertname": "InstanceErrors", "service": "shop", "instance": instance}
    return {"labels": labels, "startsAt": "2026-11-23T07:58:54.725Z", "endsAt": "2036-11-23T07:58:54.725Z"}


def _is_taken(client: httpx.Client, port: int, body: list[dict[str, Any]], load: Load) -> bool:
    try:
        answer = client.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=body)
    except httpx.HTTPError:
        return False
    if not answer.is_success:
        load.refused[answer.status_code] += 1
    return answer.is_success


def kill_and_count(store_url: str, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill `kills` processes of a gateway and a drainer on this store; what was acknowledged and what is there."""
    load, dice, port = Load(), random.Random(seed), free_port()
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="quell-kills-") as made:
        folder = Path(made) / "config"
        write_config(folder, store_url, port)
        with _processes(folder) as restart:
            restart("gateway")
            restart("drainer")
            senders = [threading.Thread(target=_send, args=(n, port, load)) for n in range(_SENDERS)]
            for sender in senders:
                sender.start()
            try:
                for _ in range(kills):
                    _wait_for_answers(load)
                    time.sleep(dice.uniform(0, 0.4))
                    name = dice.choice(("gateway", "drainer"))
                    restart(name)
                    killed[name] += 1
                _wait_for_answers(load)
            finally:
                load.stop.set()
                for sender in senders:
                    sender.join()
            _wait_until_drained(store_url)
        return {"killed": dict(killed)} | _count(store_url, load)


def _wait_for_answers(load: Load) -> None:
    """A kill hits a gateway at work: something has been acknowledged since the last one."""
    before, deadline = len(load.acknowledged), time.monotonic() + _PATIENCE
    while len(load.acknowledged) == before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the gateway acknowledged nothing for {_PATIENCE:g} s")
        time.sleep(0.01)


def _wait_until_drained(store_url: str) -> None:
    store, deadline = SqlStore(store_url), time.monotonic() + _PATIENCE
    while True:
        with store.reading() as tx:
            if not tx.inbox.find({"processed_at": None}, limit=1):
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the inbox was not empty after {_PATIENCE:g} s")
        time.sleep(0.1)


def _count(store_url: str, load: Load) -> dict[str, Any]:
    with SqlStore(store_url).reading() as tx:
        alerts = tx.alerts.find(limit=1_000_000)
        faults = verify_chain(tx.timeline.entries(), written=tx.timeline.written())
    stored = Counter(alert.labels["instance"] for alert in alerts)
    return {
        "acknowledged": len(load.acknowledged),
        "repeated_requests": load.repeated,
        "refused": dict(load.refused),
        "missing": sum(name not in stored for name in load.acknowledged),
        "doubled": sum(times > 1 for times in stored.values()),
        "never_acknowledged": len(stored.keys() - set(load.acknowledged)),
        "without_outcome": sum(alert.outcome is None for alert in alerts),
        "timeline_faults": faults,
    }


def kill_report(kills: int, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="quell-kills-") as folder, throwaway_postgres(durable=True) as url:
        figures = {
            "sqlite": kill_and_count(f"sqlite:///{folder}/quell.db", kills=kills, seed=1),
            "postgresql": kill_and_count(url, kills=kills, seed=2),
        }
    if as_json:
        print_json(figures)
        return
    rows = [(name, *(str(value) for value in found.values())) for name, found in figures.items()]
    print_table("kill -9 under load", ("", *figures["sqlite"]), rows)
