"""A storm of alerts through the real processes: Prefect server, gateway and responder, on SQLite or PostgreSQL.

`python -m benchmarks.storm [--store URL] [--alerts N] [--seconds S] [--calm N] [--json]`

1. Calm: one fresh alert of each of many unrelated services, one after another: from the webhook to the incident.
2. Storm: N alerts of one cause in S seconds over the webhook, ten per request. Beside it every second a fresh alert of
   an unrelated service, and the page of the storm's incident is asked for.
3. The storm's first request is sent 200 times again: what it changes in the record.

The time to an incident ends when a reader of the database sees it, so it holds the commit and up to 10 ms of looking.
The responder answers each incident with its flow, as in production.
"""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.report import parser, print_json, print_table
from benchmarks.running_quell import WAIT_SECONDS, Quell, WriteConfig, running

PER_REQUEST = 10
CALLERS = 9  # of the service with the broken disk
REDELIVERIES = 200


def seconds_to_incident(quell: Quell, service: str) -> float:
    """From before the request to the moment in which a reader sees the incident of this service."""
    began = time.perf_counter()
    with httpx.Client(base_url=quell.door, trust_env=False, timeout=30) as client:
        body = {"version": "4", "alerts": [storm_alert("Errors", service, f"{service}-1")]}
        client.post("/api/v1/alerts/alertmanager", json=body).raise_for_status()
    while time.perf_counter() - began < WAIT_SECONDS:
        with quell.store.reading() as tx:
            if tx.incidents.count({"service": service}):
                return time.perf_counter() - began
        time.sleep(0.01)
    return float("inf")


def write_shop(strangers: int) -> WriteConfig:
    """A database and who calls it, and services that nobody calls."""

    def write(folder: Path) -> None:
        lines = ["services:", "  database: {team: t}"]
        lines += [f"  caller-{n}: {{team: t, depends_on: [database], user_facing: true}}" for n in range(CALLERS)]
        lines += [f"  {kind}-{n}: {{team: t}}" for kind in ("calm", "stranger") for n in range(strangers)]
        (folder / "services.yaml").write_text("\n".join([*lines, "  warm-up: {team: t}", ""]))
        signal = "  errors: {kind: error_ratio, unit: ratio, step: 30s, query: up, user_facing: true}"
        (folder / "signals.yaml").write_text(f"signals:\n{signal}\n")

    return write


def storm_alert(name: str, service: str, instance: str, **more: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "service": service, "instance": instance, "severity": "critical", **more},
        "annotations": {"summary": f"{name} of {instance}", "value": "0.4", "expected": "0.01"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }


def storm_alerts(count: int) -> list[list[dict[str, Any]]]:
    """Alerts of the database and of everybody who calls it, in requests."""
    alerts = [
        storm_alert(
            f"Check{n // 500}", "database" if n % 10 == 0 else f"caller-{n % CALLERS}", f"host-{n % 500}", check=str(n)
        )
        for n in range(count)
    ]
    return [alerts[n : n + PER_REQUEST] for n in range(0, count, PER_REQUEST)]


def calm(quell: Quell, count: int) -> list[float]:
    found: list[float] = []
    for n in range(count):
        found.append(seconds_to_incident(quell, f"calm-{n}"))
        time.sleep(0.5)
    return found


def storm(quell: Quell, requests: list[list[dict[str, Any]]], seconds: float) -> dict[str, Any]:
    opened: list[float] = []
    pages: list[float] = []
    stop = threading.Event()

    def strangers() -> None:
        n = 0
        while not stop.wait(1):
            opened.append(seconds_to_incident(quell, f"stranger-{n}"))
            n += 1

    def look() -> None:
        with httpx.Client(base_url=quell.door, trust_env=False, timeout=60) as client:
            while not stop.wait(1):
                with quell.store.reading() as tx:
                    found = tx.incidents.find({"state": ("triaged", "open", "mitigating")}, order="opened_at")
                big = max(found, key=lambda i: i.tally.alerts if i.tally else 0, default=None)
                if big is None:
                    continue
                began = time.perf_counter()
                client.get(f"/incidents/{big.id}").raise_for_status()
                pages.append(time.perf_counter() - began)
                quell.look_at_memory()

    threads = [threading.Thread(target=strangers), threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    acknowledged: list[float] = []
    for n, alerts in enumerate(requests):
        time.sleep(max(0.0, began + n * seconds / len(requests) - time.perf_counter()))
        acknowledged.append(quell.post(alerts))
    sent_in = time.perf_counter() - began
    while quell.counts()["waiting"] and time.perf_counter() - began < sent_in + WAIT_SECONDS:
        time.sleep(0.05)
    drained_in = time.perf_counter() - began
    stop.set()
    for thread in threads:
        thread.join()
    return {
        "sent_in": sent_in,
        "drained_in": drained_in,
        "opened": opened,
        "pages": pages,
        "acknowledged": acknowledged,
    }


def run(store: str | None, alerts: int, seconds: float, calm_count: int) -> dict[str, Any]:
    with running(store, write_shop(max(calm_count, int(seconds) + 30))) as quell:
        quell.post([storm_alert("Errors", "warm-up", "warm-up-1")])
        time.sleep(3)
        calm_seconds = calm(quell, calm_count)
        before_memory = quell.look_at_memory()
        before = quell.counts()
        requests = storm_alerts(alerts)
        told = storm(quell, requests, seconds)
        after = quell.counts()
        with quell.store.reading() as tx:
            groups = {i.id: i.tally.alerts for i in tx.incidents.find() if i.tally and i.tally.alerts > 1}
        for _ in range(REDELIVERIES):
            quell.post(requests[0])
        time.sleep(1)
        again = quell.counts()
        return {
            "store": "postgresql" if store and store.startswith("postgresql") else "sqlite",
            "alerts": alerts,
            "calm_p95_ms": _p95(calm_seconds),
            "storm_p95_ms": _p95(told["opened"]),
            "page_p95_ms": _p95(told["pages"]),
            "page_worst_ms": max(told["pages"], default=0.0) * 1000,
            "acknowledged_p95_ms": _p95(told["acknowledged"]),
            "sent_in_s": told["sent_in"],
            "drained_in_s": told["drained_in"],
            "incidents_of_the_storm": len(groups),
            "alerts_in_them": sum(groups.values()),
            "timeline_lines": after["timeline"] - before["timeline"],
            "memory_before_mb": before_memory,
            "memory_most_mb": quell.look_at_memory(),
            "changed_by_redeliveries": {what: again[what] - after[what] for what in ("alerts", "incidents")},
        }


def _p95(seconds: list[float]) -> float | None:
    return float(np.percentile(seconds, 95)) * 1000 if seconds else None


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--store", metavar="URL", help="an empty database; default: SQLite in a temporary folder")
    asked.add_argument("--alerts", type=int, default=5000)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--calm", type=int, default=60, help="fresh alerts before the storm")
    options = asked.parse_args()
    figures = run(options.store, options.alerts, options.seconds, options.calm)
    if options.json:
        print_json(figures)
        return
    rows = [(name.replace("_", " "), value) for name, value in figures.items() if not isinstance(value, dict)]
    for name, value in figures.items():
        if isinstance(value, dict):
            rows += [(f"{name.replace('_', ' ')}: {part}", amount) for part, amount in value.items()]
    print_table(f"{options.alerts} alerts of one cause in {options.seconds:g} s", ("figure", "value"), rows)


if __name__ == "__main__":
    main()
