"""Judging one new row of many series against stored baselines, on all cores of this machine.

Wall time (the best and the middle of five), peak memory of the judging process with all baselines in it, and how many
were anomalous; compilation and reading the baselines from disk are not counted. For 1,000, 10,000 and 100,000 series,
to show that the cost is linear.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.fit import POINTS, ROOM, SIZES
from benchmarks.made_up_fleet import POINTS_A_DAY, made_up
from benchmarks.measured import measure_in_child, peak_megabytes
from benchmarks.report import parser, print_json, print_table
from quell.detection.calibration import THRESHOLD_DECADES
from quell.detection.fleet import Fleet, Limits, fit_fleet, judge_fleet

FITTED_AT_ONCE = 5_000
REPEATS = 5


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--series", type=int, nargs="+", default=list(SIZES), metavar="N")
    made.add_argument("--child", type=Path, help="judge the baselines in this folder here")
    arguments = made.parse_args()
    if arguments.child:
        print_json(measure(arguments.child))
        return
    found: list[dict[str, Any]] = []
    for count in arguments.series:
        with tempfile.TemporaryDirectory() as folder:
            store_fleet(count, Path(folder))
            found.append(measure_in_child("benchmarks.judge", "--child", folder))
    figures: dict[str, Any] = {"history_points": POINTS, "cores": os.cpu_count(), "sizes": found}
    if arguments.json:
        print_json(figures)
        return
    rows = [(f"{f['series']:,}", f["seconds"], f["seconds_median"], f["peak_mb"], f["anomalous"]) for f in found]
    columns = ("series", "seconds, best", "seconds, median", "peak MB", "anomalous")
    print_table(f"Judge one row, {os.cpu_count()} cores", columns, rows)


def store_fleet(series: int, folder: Path) -> None:
    """Fit in parts, because the history is much larger than the baselines; the next row is stored beside them."""
    memories, outlooks, rows = [], [], []
    for start in range(0, series, FITTED_AT_ONCE):
        values = made_up(POINTS + 1, min(FITTED_AT_ONCE, series - start), seed=start + 1)
        fleet = fit_fleet(np.ascontiguousarray(values[:POINTS]), period=POINTS_A_DAY, room=ROOM)
        memories.append(fleet.memory)
        outlooks.append(fleet.outlook)
        rows.append(values[POINTS:])
    for name, parts, axis in (("memory", memories, 0), ("outlook", outlooks, 0), ("row", rows, 1)):
        np.save(folder / f"{name}.npy", np.concatenate(parts, axis=axis))


def measure(folder: Path) -> dict[str, Any]:
    memory, outlook, row = (np.load(folder / f"{name}.npy") for name in ("memory", "outlook", "row"))
    limits = Limits(decades=THRESHOLD_DECADES)
    fleet = Fleet(memory=memory, outlook=outlook, period=POINTS_A_DAY, room=ROOM, fitted=POINTS, slot=POINTS)
    small = replace(fleet, memory=memory[:4], outlook=outlook[:4])
    judge_fleet(small, np.ascontiguousarray(row[:, :4]), limits)  # compiles
    seconds: list[float] = []
    anomalous = 0
    for _ in range(REPEATS):
        start = perf_counter()
        judged = judge_fleet(fleet, row, limits)
        seconds.append(perf_counter() - start)
        anomalous = int(np.count_nonzero(judged.held))
    return {
        "series": row.shape[1],
        "seconds": min(seconds),
        "seconds_median": median(seconds),
        "peak_mb": peak_megabytes(),
        "anomalous": anomalous,
    }


if __name__ == "__main__":
    main()
