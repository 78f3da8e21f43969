"""Whole sweeps over a real Prometheus: ask, judge and store, beside a band rule that Prometheus evaluates by itself.

One signal of N series with a step of 15 s. Each sweep is a process of its own, as a scheduled run is, without what
Prefect and Python's imports take: the first asks for the whole window, the next ones for one new row each, and load
the baseline from the store. What a process needs once to load the compiled functions (0.3 s, as an import) is measured
by itself. The samples are made up and told to Prometheus by remote write before the sweeps, so nothing is scraped
meanwhile; the baseline is fitted on the made-up rows before them and not on a week. The rule is
avg_over_time ± 3 * stddev_over_time over the same window: once as a query with its answer, and as an alerting rule by
the server's own clock. Peak memory is that of the sweep's process.
"""

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.live_prometheus import LivePrometheus, live_prometheus
from benchmarks.made_up_fleet import made_up
from benchmarks.measured import measure_in_child, peak_megabytes
from benchmarks.report import parser, print_json, print_table
from quell.config.config import Config, Connections, Intervals
from quell.detection.baseline import fit
from quell.detection.calibration import THRESHOLD_DECADES
from quell.detection.fleet import Limits, judge_fleet
from quell.incidents.labels import Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from tasks.baselines import store_baseline
from tasks.detection import close_sweep, judge_shard, plan_shards, window_points
from tasks.resources import Resources, open_resources

SIZES = (1_000, 10_000, 100_000)
STEP = timedelta(seconds=15)
HISTORY = 360  # rows; an hour and a half
SWEEPS = 5
START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNAL = Signal(
    name="live",
    query="live",
    kind=SignalKind.LATENCY,
    direction=Direction.BOTH,
    unit="seconds",
    step=STEP,
    history=HISTORY * STEP,
)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--series", type=int, nargs="+", default=list(SIZES), metavar="N")
    made.add_argument("--child", choices=("fit", "sweep"), help="do one part here, in the folder")
    made.add_argument("--folder", type=Path)
    made.add_argument("--url", default="")
    made.add_argument("--at", type=float, default=0.0)
    arguments = made.parse_args()
    if arguments.child:
        at = datetime.fromtimestamp(arguments.at, UTC)
        part = fit_baseline if arguments.child == "fit" else sweep
        print_json(part(open_folder(arguments.folder, arguments.url), arguments.series[0], at))
        return
    figures = {"cores": os.cpu_count(), "step_seconds": STEP.total_seconds(), "sizes": measure_all(arguments.series)}
    if arguments.json:
        print_json(figures)
        return
    show(figures["sizes"])


def measure_all(sizes: list[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder, live_prometheus(Path(folder) / "prometheus") as prometheus:
            found.append(measure(prometheus, Path(folder), count))
    return found


def measure(prometheus: LivePrometheus, folder: Path, count: int) -> dict[str, Any]:
    points = window_points(SIGNAL, Intervals().stale_after)
    seconds = STEP.total_seconds()
    last = np.floor(time.time() / seconds) * seconds
    shared = ("benchmarks.sweep", "--series", str(count), "--folder", str(folder), "--url", prometheus.url)
    fitted = measure_in_child(*shared, "--child", "fit", "--at", str(last - SWEEPS * seconds))
    prometheus.write(labels_of(count), *rows(count, last, slice(-points - SWEEPS, None)))
    moments = [last - n * seconds for n in range(SWEEPS, -1, -1)]
    sweeps = [measure_in_child(*shared, "--child", "sweep", "--at", str(at)) for at in moments]
    window = f"[{points * int(seconds)}s]"
    band = f"3 * stddev_over_time(live{window})"
    rule = f"live > avg_over_time(live{window}) + {band} or live < avg_over_time(live{window}) - {band}"
    asked = [prometheus.query_seconds(rule, last) for _ in range(3)]
    return {
        "series": count,
        "window_points": points,
        "fit_seconds": fitted["seconds"],
        "first": sweeps[0],
        "steady": summary(sweeps[1:]),
        "rule_query_seconds": {"best": min(asked), "median": median(asked)},
        "rule_evaluation_seconds": evaluated(prometheus.rule_seconds(rule, 3)),
    }


def summary(sweeps: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("seconds", "query", "load", "judge", "store", "rest", "peak_mb")
    best = {name: min(one[name] for one in sweeps) for name in names}
    middle = {name: median(one[name] for one in sweeps) for name in names}
    return {"best": best, "median": middle, "verdicts": sweeps[-1]["verdicts"]}


def evaluated(seconds: list[float]) -> dict[str, float] | None:
    return {"best": min(seconds), "median": median(seconds)} if seconds else None


def show(sizes: list[dict[str, Any]]) -> None:
    columns = ("series", "sweep", "seconds", "query", "load", "judge", "store", "rest", "peak MB")
    table: list[tuple[Any, ...]] = []
    for size in sizes:
        for name, one in (("first", size["first"]), *((k, size["steady"][k]) for k in ("median", "best"))):
            stages = (one[stage] for stage in ("seconds", "query", "load", "judge", "store", "rest", "peak_mb"))
            table.append((f"{size['series']:,}", name, *stages))
    print_table(f"One sweep, {os.cpu_count()} cores", columns, table)
    rules = [
        (
            f"{size['series']:,}",
            size["rule_query_seconds"]["median"],
            size["rule_query_seconds"]["best"],
            (size["rule_evaluation_seconds"] or {}).get("median"),
            (size["rule_evaluation_seconds"] or {}).get("best"),
        )
        for size in sizes
    ]
    columns = ("series", "query, median", "query, best", "rule, median", "rule, best")
    print_table("Prometheus: avg ± 3 stddev over the same window, seconds", columns, rules)


def open_folder(folder: Path, url: str) -> Resources:
    config = Config(
        folder=folder,
        connections=Connections(store=f"sqlite:///{folder}/quell.db", prometheus=url, timeout=timedelta(seconds=60)),
        signals={SIGNAL.name: SIGNAL},
    )
    return open_resources(config, data=folder / "data")


def fit_baseline(res: Resources, count: int, before: datetime) -> dict[str, Any]:
    """Fit on made-up rows that end before the first sweep."""
    timestamps, values = rows(count, before.timestamp() + SWEEPS * STEP.total_seconds(), slice(HISTORY))
    begun = time.perf_counter()
    matrix = SeriesMatrix(timestamps=timestamps, values=values, labels=labels_of(count))
    baseline = fit(matrix, SIGNAL, now=before)
    seconds = time.perf_counter() - begun
    with res.store.writing() as tx:
        store_baseline(tx, baseline, before)
    return {"seconds": seconds}


def sweep(res: Resources, count: int, at: datetime) -> dict[str, Any]:
    """One sweep as the flow runs it, without Prefect."""
    machine_code = load_machine_code()
    begun = time.perf_counter()
    shards = [judge_shard(res, shard, at) for shard in plan_shards(res, at)]
    report = close_sweep(res, at, shards, seconds=time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    stages = {stage: report.spent[stage] for stage in ("query", "load", "judge", "store")}
    return {
        "seconds": seconds,
        **stages,
        "rest": seconds - sum(stages.values()),
        "machine_code_seconds": machine_code,
        "peak_mb": peak_megabytes(),
        "verdicts": report.totals,
        "series": count,
    }


def load_machine_code() -> float:
    """The seconds that a process needs once to load what numba has compiled, on top of Python's imports."""
    begun = time.perf_counter()
    fleet = fit(SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=()), SIGNAL, now=START).fleet
    judge_fleet(fleet, np.empty((1, 0)), Limits(decades=THRESHOLD_DECADES))
    return time.perf_counter() - begun


def labels_of(count: int) -> tuple[Labels, ...]:
    return tuple(
        {"__name__": "live", "instance": f"checkout-{n:06}", "job": "fleet", "service": f"service-{n % 50}"}
        for n in range(count)
    )


def rows(count: int, last: float, part: slice) -> tuple[FloatArray, FloatArray]:
    """A part of the rows that end at a moment: the history, then the row of each sweep."""
    points = HISTORY + SWEEPS + 1
    timestamps = last - np.arange(points)[::-1] * STEP.total_seconds()
    return timestamps[part], np.ascontiguousarray(made_up(points, count)[part])


if __name__ == "__main__":
    main()
