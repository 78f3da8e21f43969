"""Fitting baselines: many series of 2,016 points (a week at five minutes), on all cores of this machine.

Wall time, peak memory of the process with the history in it, and cells per second; compilation is not counted. For
1,000, 10,000 and 100,000 series, to show that the cost is linear.

With --dask: the same fit on Dask workers of one thread each, two beside one; each holds its part of the history.
"""

import os
from time import perf_counter
from typing import Any

from benchmarks.made_up_fleet import POINTS_A_DAY, made_up
from benchmarks.measured import measure_in_child, peak_megabytes
from benchmarks.report import parser, print_json, print_table
from quell.detection.fleet import fit_fleet

POINTS = 2_016
ROOM = 12  # rows judged before the next fit
SIZES = (1_000, 10_000, 100_000)
DASK_SERIES = 8_000


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--series", type=int, nargs="+", default=list(SIZES), metavar="N")
    made.add_argument("--child", action="store_true", help="measure one size here")
    made.add_argument("--dask", action="store_true", help="two Dask workers beside one, instead")
    arguments = made.parse_args()
    if arguments.dask:
        show_dask(arguments.series[:1] if arguments.series != list(SIZES) else [DASK_SERIES], as_json=arguments.json)
        return
    if arguments.child:
        print_json(measure(arguments.series[0]))
        return
    found = [measure_in_child("benchmarks.fit", "--child", "--series", str(count)) for count in arguments.series]
    figures: dict[str, Any] = {"points": POINTS, "cores": os.cpu_count(), "sizes": found}
    if arguments.json:
        print_json(figures)
        return
    rows = [
        (f"{f['series']:,}", f["seconds"], f["cells_per_second"] / 1e6, f["peak_mb"], f["stored_mb"]) for f in found
    ]
    columns = ("series", "seconds", "million cells/s", "peak MB", "stored MB")
    print_table(f"Fit on {POINTS:,} points, {os.cpu_count()} cores", columns, rows)


def show_dask(sizes: list[int], *, as_json: bool) -> None:
    from benchmarks.dask_fit import measure_on_dask

    found = [measure_on_dask(POINTS, count, ROOM) for count in sizes]
    if as_json:
        print_json({"cores": os.cpu_count(), "dask": found})
        return
    rows = [(f"{f['series']:,}", f["seconds_one_worker"], f["seconds_two_workers"], f["ratio"]) for f in found]
    columns = ("series", "seconds, one worker", "seconds, two workers", "ratio")
    print_table(f"Fit on {POINTS:,} points on Dask, {os.cpu_count()} cores", columns, rows)


def measure(series: int) -> dict[str, Any]:
    fit_fleet(made_up(3 * POINTS_A_DAY, 4), period=POINTS_A_DAY, room=ROOM)  # compiles
    history = made_up(POINTS, series)
    start = perf_counter()
    fleet = fit_fleet(history, period=POINTS_A_DAY, room=ROOM)
    seconds = perf_counter() - start
    return {
        "series": series,
        "seconds": seconds,
        "cells_per_second": history.size / seconds,
        "peak_mb": peak_megabytes(),
        "stored_mb": (fleet.memory.nbytes + fleet.outlook.nbytes) / 2**20,
    }


if __name__ == "__main__":
    main()
