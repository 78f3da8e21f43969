"""Quell's detector on labelled series (AIOps challenge 2018): F1 where an anomaly must be caught within 7 rows.

One configuration and one threshold for all series: the best one, and 0.5, the recommended one. DIR holds one Parquet or
CSV file per series with the columns timestamp, value, label.
"""

from dataclasses import asdict
from typing import Any

from benchmarks.delay_score import DELAY, DelayScore, best_f1, mean_of_own_best, score_at, without_largest
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import score_labelled
from quell.detection.scoring import RECOMMENDED

LARGEST = 8  # segments that hold half of all labelled rows
# Best F1 with the same delay, on the contest's test part: another part of the same series. Source: Li et al., FluxEV,
# WSDM 2021, table 2.
PUBLISHED = {"FluxEV": 0.790, "SR-CNN (supervised)": 0.771, "DONUT": 0.729, "SR": 0.654, "DSPOT": 0.488, "SPOT": 0.181}


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--k", type=int, default=DELAY, help="rows within which an anomaly must be caught")
    arguments = parser.parse_args()
    series, speed = score_labelled(arguments.data)
    best = best_f1(series, arguments.k)
    rest = without_largest(series, LARGEST)
    found: dict[str, DelayScore] = {}
    if best is not None:
        found["best"] = score_at(series, best[1], arguments.k)
    found["at_0.5"] = score_at(series, RECOMMENDED, arguments.k)
    if (best_rest := best_f1(rest, arguments.k)) is not None:
        found[f"without_{LARGEST}_largest_best"] = score_at(rest, best_rest[1], arguments.k)
    found[f"without_{LARGEST}_largest_at_0.5"] = score_at(rest, RECOMMENDED, arguments.k)
    figures: dict[str, Any] = {
        "series": len(series),
        "rows": sum(len(one.labels) for one in series),
        "labelled_rows": sum(int(one.labels.sum()) for one in series),
        "k": arguments.k,
        **{name: asdict(one) for name, one in found.items()},
        "per_series_best_f1_mean": mean_of_own_best(series, arguments.k),
        "published_best_f1": PUBLISHED,
        "rows_per_second": speed,
    }
    print_json(figures) if arguments.json else _show(figures, found)


def _show(figures: dict[str, Any], found: dict[str, DelayScore]) -> None:
    title = f"{figures['series']} series, {figures['rows']:,} rows, delay {figures['k']} rows"
    rows = [
        (name.replace("_", " "), s.f1, s.precision, s.recall, s.threshold, f"{s.segments_hit}/{s.segments}",
         s.false_episodes_per_series_week, s.mean_delay_rows)
        for name, s in found.items()
    ]  # fmt: skip
    columns = ("Quell", "F1", "precision", "recall", "threshold", "segments", "false episodes/week", "delay")
    print_table(title, columns, rows)
    print_table("Published, best threshold, other part of the data", ("detector", "F1"), PUBLISHED.items())
    print(f"mean of each series' own best F1: {figures['per_series_best_f1_mean']:.3f}")
    print(f"{figures['rows_per_second']:,.0f} rows per second and core")


if __name__ == "__main__":
    main()
