"""The calibration of the score: false alarms per series-week at each rarity, and whether that holds on other series.

DIR holds nab/ and kpi/. A false alarm is a run of rows at or above the rarity outside every labelled period, on the KPI
series and on NAB's five-minute series. Held out: over 200 random splits of the series into halves, how often one half's
rate lies within a factor of 1.5 of the other's. `quell/detection/calibration.py` holds the curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.delay_score import WEEK_SECONDS, runs
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import labelled_paths, nab_keys, read_labels, score_paths
from quell.detection.calibration import decades_of
from quell.detection.columns import BoolArray
from quell.incidents.series import FloatArray

DECADES = (2.0, 2.2, 2.4, 2.5, 2.55, 2.6, 2.64, 2.67, 2.68, 2.75, 2.8, 3.0, 3.3, 3.7)
SPLITS = 200
FINEST_COARSE_STEP = 400.0  # seconds; NAB's series above it are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One series: how rare each row is, which rows are labelled, and how long it is."""

    decades: FloatArray
    labels: BoolArray
    weeks: float

    def false_episodes(self, decades: float) -> int:
        return len(runs((self.decades >= decades) & ~self.labels))


def main() -> None:
    arguments = data_parser(__doc__).parse_args()
    stretches = [*kpi_stretches(arguments.data / "kpi"), *nab_stretches(arguments.data / "nab")]
    weeks = np.array([one.weeks for one in stretches])
    counts = np.array([[one.false_episodes(decades) for one in stretches] for decades in DECADES], dtype=np.float64)
    rates, within = counts.sum(axis=1) / weeks.sum(), share_within(counts, weeks, factor=1.5)
    if arguments.json:
        rows = [
            {"decades": d, "per_week": r, "within": w} for d, r, w in zip(DECADES, rates.tolist(), within, strict=True)
        ]
        print_json({"series": len(stretches), "series_weeks": float(weeks.sum()), "curve": rows})
        return
    title = f"False alarms per week, {len(stretches)} series, {weeks.sum():.0f} series-weeks"
    columns = ("decades", "false alarms per series-week", f"halves within a factor of 1.5, of {SPLITS} splits")
    print_table(title, columns, [(d, float(r), w) for d, r, w in zip(DECADES, rates, within, strict=True)])


def share_within(counts: FloatArray, weeks: FloatArray, *, factor: float) -> list[float]:
    """For each row of counts: the share of random splits of the series whose halves' rates lie within the factor."""
    random = np.random.default_rng(0)
    hits = np.zeros(len(counts))
    for _ in range(SPLITS):
        order = random.permutation(len(weeks))
        one, other = order[: len(weeks) // 2], order[len(weeks) // 2 :]
        first = counts[:, one].sum(axis=1) / weeks[one].sum()
        second = counts[:, other].sum(axis=1) / weeks[other].sum()
        hits += (first <= factor * second) & (second <= factor * first)
    return [float(share) for share in hits / SPLITS]


def kpi_stretches(folder: Path) -> list[Stretch]:
    paths = labelled_paths(folder)
    return [
        stretch(one.timestamps, one.score, read_labels(path))
        for path, one in zip(paths, score_paths(paths), strict=True)
    ]


def nab_stretches(folder: Path) -> list[Stretch]:
    windows = nab_keys(folder)
    found: list[Stretch] = []
    for key, one in zip(windows, score_paths([folder / "data" / key for key in windows]), strict=True):
        if np.median(np.diff(one.timestamps)) <= FINEST_COARSE_STEP:
            found.append(stretch(one.timestamps, one.score, within_windows(one.timestamps, windows[key])))
    return found


def within_windows(timestamps: FloatArray, windows: Sequence[tuple[float, float]]) -> BoolArray:
    inside = np.zeros(len(timestamps), dtype=np.bool_)
    for begin, end in windows:
        inside |= (timestamps >= begin) & (timestamps <= end)
    return inside


def stretch(timestamps: FloatArray, score: FloatArray, labels: BoolArray) -> Stretch:
    decades = np.array([decades_of(float(one)) for one in np.unique(score)])[np.unique(score, return_inverse=True)[1]]
    return Stretch(
        decades=decades, labels=labels, weeks=len(score) * float(np.median(np.diff(timestamps))) / WEEK_SECONDS
    )


if __name__ == "__main__":
    main()
