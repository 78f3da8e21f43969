"""The weekly report over a year of 100,000 incidents, beside the same last weeks alone: old records must cost nothing.

Ten alerts for each incident in the last four weeks, one in the year before; a mitigation for every third incident.
`--incidents` scales the year. Prefect is not asked.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measured import measure_in_child, peak_megabytes
from benchmarks.report import parser, print_json, print_table
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.alert import Alert, AlertId, AlertOutcome, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Recovery
from quell.incidents.suspect import Suspect
from quell.incidents.tally import Tally
from quell.ports import Document
from quell.prevention.weekly.export import export_rows
from quell.prevention.weekly.week import week_of
from tasks.resources import Resources
from tasks.weekly import weekly_report

END = datetime(2026, 11, 23, tzinfo=UTC)
YEAR, RECENT = timedelta(days=365), timedelta(weeks=4)
ENDED = (IncidentState.CLOSED, IncidentState.RESOLVED, IncidentState.DISMISSED)
KINDS = ("InstanceErrors", "NoisyClient", "SlowRequests")


def incident(number: int, at: datetime, dice: random.Random) -> Incident:
    wait = timedelta(seconds=dice.lognormvariate(4, 1))
    return Incident(
        id=IncidentId(f"INC-{number}"),
        state=dice.choice(ENDED),
        severity=dice.choice(list(Severity)),
        title="requests fail",
        service=f"service-{number % 200}",
        onset_at=at - wait,
        opened_at=at,
        updated_at=at,
        opened_because="nothing near it in time or in the call graph",
        opened_by="alertmanager",
        suspects=(Suspect(node=f"service-{number % 200}-1", metric="m", score=0.5, reason="it rose first"),),
        acknowledged_at=at + wait,
        contained_at=at + 2 * wait,
        resolved_at=at + 10 * wait,
        tally=Tally(alerts=10),
    )


def alert(number: int, owner: int, at: datetime) -> Alert:
    labels = {"alertname": f"Errors{number % 40}", "service": f"service-{owner % 200}", "instance": f"pod-{number}"}
    return Alert(
        id=AlertId(f"a{number}"),
        fingerprint=Fingerprint(f"{number:016x}"),
        status=AlertStatus.RESOLVED,
        labels=labels | ({"signal": f"signal-{number % 50}"} if number % 2 else {}),
        annotations={"summary": "12 % of the requests fail"},
        starts_at=at,
        ends_at=at + timedelta(minutes=number % 30),
        source="sweep" if number % 2 else "alertmanager",
        received_at=at,
        updated_at=at,
        outcome=AlertOutcome.JOINED,
        outcome_reason="it depends on service-1, whose alerts began 4 s before",
        incident=f"INC-{owner}",
    )


def mitigation(number: int, at: datetime, dice: random.Random) -> Mitigation:
    radius = BlastRadius(service="s", instances=(), capacity_share=0.25, capacity_left=0.75)
    plan = Plan(
        playbook="p", incident=f"INC-{number}", target="s-1", steps=(), undo=(), blast_radius=radius, evidence=(),
        needs_approval=bool(number % 2), approval_reason="", expires_after=timedelta(hours=1),
    )  # fmt: skip
    after = [at + timedelta(seconds=dice.lognormvariate(3, 1) * n) for n in (1, 2, 3)]
    return Mitigation(
        id=MitigationId(f"MIT-{number}"), state=MitigationState.UNDONE, plan=plan, plan_hash="h",
        incident=f"INC-{number}", playbook=f"playbook-{number % 12}", service="s", target="s-1", requested_by="quell",
        created_at=at, updated_at=at, applied_at=after[0], judged_at=after[1], ended_at=after[2],
        approved_at=after[0], approval_deadline=at + timedelta(minutes=15) if number % 2 else None,
        recovery=dice.choice(list(Recovery)), answers=dice.choice(KINDS),
    )  # fmt: skip


def moments(count: int, length: timedelta) -> Iterator[tuple[int, datetime]]:
    return ((n, END - length * (1 - n / count)) for n in range(count))


def fill(store: SqlStore, incidents: int, length: timedelta) -> None:
    dice, number = random.Random(4), 0
    batch: list[tuple[int, datetime]] = []
    for place in [*moments(incidents, length), None]:
        if place is not None:
            batch.append(place)
        if len(batch) == 5000 or place is None:
            alerts: list[Alert] = []
            for owner, at in batch:
                for _ in range(10 if at >= END - RECENT else 1):
                    alerts.append(alert(number, owner, at))
                    number += 1
            with store.writing() as tx:
                tx.incidents.put_all(incident(n, at, dice) for n, at in batch)
                tx.alerts.put_all(alerts)
                tx.mitigations.put_all(mitigation(n, at, dice) for n, at in batch if n % 3 == 0)
            batch = []


def measure(url: str) -> dict[str, Any]:
    """The report of the last week, three times; Prefect's part is taken as kept."""
    store = SqlStore(url)
    with store.writing() as tx:
        for week in (week_of(END).before, week_of(END).before.before):
            id = f"weekly runs {week.name}"
            tx.documents.put(Document(id=id, kind="weekly runs", updated_at=END, body={"flows": []}))
    config = Config(folder=Path(), connections=Connections(store=url, prometheus=""))
    res = Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: END)  # type: ignore[arg-type]
    before, times, worked = peak_megabytes(), list[float](), list[float]()
    for _ in range(3):
        start, busy = time.monotonic(), time.process_time()
        report = weekly_report(res, week_of(END).before)
        rows = sum(1 for _ in export_rows(report))
        times.append(time.monotonic() - start)
        worked.append(time.process_time() - busy)
    store.close()
    return {
        "seconds": min(times),
        "processor_seconds": min(worked),
        "peak_mb": peak_megabytes() - before,
        "figures": rows,
    }


def main() -> None:
    options: argparse.ArgumentParser = parser(__doc__)
    options.add_argument("--incidents", type=int, default=100_000, help="in the year")
    options.add_argument("--child", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        print_json(measure(given.child))
        return
    share = RECENT / YEAR
    figures: dict[str, Any] = {}
    for name, count, length in (("year", given.incidents, YEAR), ("weeks", int(given.incidents * share), RECENT)):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/record.db"
            store = SqlStore(url)
            fill(store, count, length)
            store.close()
            figures[name] = {"incidents": count, **measure_in_child("benchmarks.weekly", "--child", url)}
    if given.json:
        print_json(figures)
        return
    columns = ("record", "incidents", "seconds", "of processor", "MB", "figures")
    rows = [
        (n, f["incidents"], f["seconds"], f["processor_seconds"], f["peak_mb"], f["figures"])
        for n, f in figures.items()
    ]
    print_table("Weekly report (SQLite)", columns, rows)


if __name__ == "__main__":
    main()
