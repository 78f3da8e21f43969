"""Recomputing and backtesting limits: many signals of 30 days at one minute, each with incidents and a limit in force.

Wall time and peak memory of one process with all histories in it, for several numbers of signals, to show that the cost
is linear in the points; then the same signals in shards on Dask workers of one thread each, two beside one. Making up
the histories is not counted. The bar on standard error is the progress.
"""

import os
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.dask_recompute import measure_on_dask
from benchmarks.made_up_signals import POINTS_A_DAY, made_up_signal, recomputed
from benchmarks.measured import measure_in_child, peak_megabytes
from benchmarks.report import parser, print_json, print_table

DAYS = 30
SIGNALS = 1_000


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--signals", type=int, default=SIGNALS, metavar="N")
    made.add_argument("--days", type=int, default=DAYS)
    made.add_argument("--child", action="store_true", help="measure one size here")
    made.add_argument("--no-dask", action="store_true", help="leave out the part on Dask")
    arguments = made.parse_args()
    if arguments.child:
        print_json(measure(arguments.signals, arguments.days))
        return
    sizes = sorted({max(arguments.signals // 10, 1), max(arguments.signals // 3, 1), arguments.signals})
    days = ("--days", str(arguments.days))
    found = [measure_in_child("benchmarks.recompute", "--child", "--signals", str(n), *days) for n in sizes]
    figures: dict[str, Any] = {"days": arguments.days, "cores": os.cpu_count(), "sizes": found}
    if not arguments.no_dask:
        figures["dask"] = measure_on_dask(arguments.signals, arguments.days)
    print_json(figures) if arguments.json else _show(figures)


def measure(signals: int, days: int) -> dict[str, Any]:
    recomputed(made_up_signal(0, 7))  # imports
    histories = [made_up_signal(number, days) for number in range(signals)]
    before = peak_megabytes()
    bar = Console(stderr=True)
    begun = perf_counter()
    results = [recomputed(one) for one in track(histories, description=f"{signals:,} signals", console=bar)]
    seconds = perf_counter() - begun
    points = signals * days * POINTS_A_DAY
    return {
        "signals": signals,
        "points": points,
        "seconds": seconds,
        "points_per_second": points / seconds,
        "nanoseconds_per_point": seconds / points * 1e9,
        "peak_mb": peak_megabytes(),
        "histories_mb": before,
        "proposals": sum(one.proposal.upper is not None for one in results),
        "incidents": sum(len(one.new.catches) for one in results),
        "caught_new": sum(catch.after is not None for one in results for catch in one.new.catches),
        "caught_old": sum(catch.after is not None for one in results if one.old for catch in one.old.catches),
        "false_alarms_per_week_new": sum(one.new.rate.count for one in results)
        / sum(one.new.rate.weeks for one in results),
        "false_alarms_per_week_old": sum(one.old.rate.count for one in results if one.old)
        / sum(one.old.rate.weeks for one in results if one.old),
    }


def _show(figures: dict[str, Any]) -> None:
    rows = [
        (
            f"{f['signals']:,}", f["points"] / 1e6, f["seconds"], f["nanoseconds_per_point"], f["peak_mb"],
            f"{f['caught_old']} -> {f['caught_new']} of {f['incidents']}", f["false_alarms_per_week_new"],
        )
        for f in figures["sizes"]
    ]  # fmt: skip
    columns = ("signals", "million points", "seconds", "ns a point", "peak MB", "incidents caught", "false/week")
    print_table(f"Recompute and backtest, {figures['days']} days at one minute, one process", columns, rows)
    if "dask" in figures:
        f = figures["dask"]
        row = (f"{f['signals']:,}", f["seconds_one_worker"], f["seconds_two_workers"], f["ratio"], f["ratio_by_cpu"])
        title = f"The same on Dask, {f['shards']} shards, {figures['cores']} cores"
        print_table(title, ("signals", "seconds, one worker", "seconds, two workers", "ratio", "by CPU"), [row])


if __name__ == "__main__":
    main()
