"""kill -9 at every boundary of respond, mitigate, release and reconcile, on SQLite and PostgreSQL.

`python -m benchmarks.kills [--kills N] [--store sqlite|postgresql] [--json]`

N kills on each database (default 150), spread over every boundary: before and after each commit, before and after each
call that changes something outside. After each, reconciliation passes at 25, 40 and 55 s (the clock is moved on, leases
and grace are the real ones) must have settled it; then record, journal, HAProxy and its files must agree, and no effect
may have happened twice or be forgotten. See benchmarks/mitigation_kills.py.

Then 50 plans for one pool from ten processes at once, with HAProxy's own capacity watched all the time, and 200
deliveries of one webhook: see benchmarks/concurrent_plans.py.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.concurrent_plans import concurrent_plans, redeliveries
from benchmarks.mitigation_kills import WORKS, Outcome, torture
from benchmarks.postgres import throwaway_postgres
from benchmarks.report import parser, print_json, print_table
from deployments.sandbox.trial_proxy import TrialProxy


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    folder.mkdir(exist_ok=True)
    if kind == "sqlite":
        yield f"sqlite:///{folder}/quell.db"
        return
    with throwaway_postgres(durable=True) as url:
        yield url


def run(kind: str, kills: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quell-kills-") as name:
        folder = Path(name)
        with _database(kind, folder) as store, TrialProxy(folder / "proxy") as proxy:
            outcomes = torture(store, proxy, kills=kills)
        with _database(kind, folder / "concurrent") as store, TrialProxy(folder / "pool") as proxy:
            at_once = concurrent_plans(store, proxy)
        with _database(kind, folder / "delivered") as store, TrialProxy(folder / "door") as proxy:
            delivered = redeliveries(store, proxy)
    works = [figures(work, outcomes) for work in WORKS]
    return {
        "store": kind,
        "works": works,
        "all": figures("all", outcomes),
        "concurrent_plans": at_once,
        "redeliveries": delivered,
    }


def figures(work: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    own = [one for one in outcomes if work in ("all", one.work)]
    faults = [fault for one in own for fault in one.faults]
    settled = [one.settled_s for one in own if one.settled_s is not None]
    return {
        "work": work,
        "boundaries": len({(one.work, one.boundary) for one in own}),
        "kills": len(own),
        "settled": len(settled),
        "worst_s": max(settled, default=None),
        "double": sum(fault.startswith("double") for fault in faults),
        "forgotten": sum(fault.startswith(("forgotten", "missing")) for fault in faults),
        "disagree": sum(fault.startswith("disagree") for fault in faults),
        "faults": [f"{one.work}, {one.boundary}: {'; '.join(one.faults)}" for one in own if one.faults][:10],
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--kills", type=int, default=150, help="on each database")
    asked.add_argument("--store", choices=("sqlite", "postgresql"), help="default: both")
    options = asked.parse_args()
    found = [run(kind, options.kills) for kind in ([options.store] if options.store else ["sqlite", "postgresql"])]
    if options.json:
        print_json({"stores": found})
        return
    names = ("work", "boundaries", "kills", "settled", "worst_s", "double", "forgotten", "disagree")
    for one in found:
        rows = [[work[name] for name in names] for work in (*one["works"], one["all"])]
        print_table(f"kill -9, {one['store']}", tuple(name.replace("_", " ") for name in names), rows)
        for name in ("concurrent_plans", "redeliveries"):
            values = ((key.replace("_", " "), str(value)) for key, value in one[name].items())
            print_table(f"{name.replace('_', ' ')}, {one['store']}", ("figure", "value"), values)
        for fault in one["all"]["faults"]:
            print(fault)


if __name__ == "__main__":
    main()
