"""Limits learned on the first half of each series, tried on its second half: F1, and alerts per week as predicted.

DIR holds one Parquet or CSV file per series with the columns timestamp, value, label. The labels of the first half
stand for past incidents and reviews; those of the second half only score. The limit is on the detector's own score,
which each row gets from the rows before it. Two yardsticks are chosen in hindsight, on the second half: the best one
threshold for all series, and the best set of one threshold for each. "learned 2 a week" keeps to a budget of two false
alarms per week and series; "own best" is the best threshold of each first half alone; "static on value" is a fixed
limit on the value, "by hour on value" one by hour of the week: where the first half itself shows a gain, or always.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.delay_score import LabelledSeries, best_f1, found_at, mean_of_own_best, runs, score_at
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import ScoredSeries, labelled, labelled_paths, score_paths
from benchmarks.value_limits import Hours, beyond_limits
from quell.detection.scoring import RECOMMENDED
from quell.incidents.series import FloatArray
from quell.prevention.prediction import Pool, Prediction, pool_alerts, predict_alerts
from quell.prevention.sensitivity import LabelledScores, learn_sensitivity

BUDGET = 0.5  # false alarms per week, the default of the configuration
CUT = (0.0, 0.5, 1.0)
OTHER_CUTS = ((0.0, 0.25, 0.5), (0.25, 0.5, 0.75), (0.5, 0.75, 1.0), (0.25, 0.625, 1.0), (0.0, 0.7, 1.0))
BUDGETS = (10.0, 2.0, BUDGET)
ON_VALUE = {
    "static_on_value": Hours.NEVER,
    "by_hour_on_value_where_proven": Hours.PROVEN,
    "by_hour_on_value_always": Hours.ALWAYS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    name: str
    times: FloatArray
    values: FloatArray
    early: LabelledSeries
    late: LabelledSeries

    @property
    def middle(self) -> int:
        return len(self.early.labels)

    def early_alerts(self, score: FloatArray, limit: float) -> int:
        return len(runs(score[: self.middle] >= limit))

    def alerts(self, score: FloatArray, limit: float, pool: Pool | None) -> tuple[Prediction, float]:
        """What the first half predicts, with the pool of all first halves, and what came in the second, a week."""
        starts = np.array([start for start, _ in runs(score >= limit)], dtype=np.int64)
        step, begun = self.late.step_seconds, float(self.times[0])
        cut = begun + step * self.middle
        ahead = timedelta(weeks=self.late.weeks)
        prior = pool.prior(timedelta(seconds=step)) if pool else None
        at = np.asarray(begun + step * starts, dtype=np.float64)
        prediction = predict_alerts(at[starts < self.middle], start=begun, end=cut, ahead=ahead, prior=prior)
        return prediction, float(np.count_nonzero(starts >= self.middle)) / self.late.weeks


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--cuts", action="store_true", help="other cuts of the same series as well, in short")
    arguments = parser.parse_args()
    paths = labelled_paths(arguments.data)
    scored = score_paths(paths)
    series = [labelled(path, one.timestamps, one.score) for path, one in zip(paths, scored, strict=True)]
    figures = measure(cut_series(scored, series, *CUT))
    if arguments.cuts:
        figures["cuts"] = [_in_short(cut, measure(cut_series(scored, series, *cut))) for cut in OTHER_CUTS]
    print_json(figures) if arguments.json else _show(figures)


def cut_series(
    scored: Sequence[ScoredSeries], series: Sequence[LabelledSeries], start: float, middle: float, end: float
) -> list[Halves]:
    """The part to learn from and the part to try it on, as shares of each series."""
    halves: list[Halves] = []
    for one, known in zip(scored, series, strict=True):
        first, cut, last = (int(share * len(known.labels)) for share in (start, middle, end))
        halves.append(
            Halves(
                name=known.name,
                times=one.timestamps[first:last],
                values=one.values[first:last],
                early=_part(known, first, cut),
                late=_part(known, cut, last),
            )
        )
    return halves


def _in_short(cut: tuple[float, float, float], figures: dict[str, Any]) -> dict[str, Any]:
    learned = figures["methods"]["learned"]
    names = ("best_threshold_f1", "gap_to_best_threshold", "gap_to_best_per_series")
    counts = ("f1", "predictions", "predictions_held", "held_of_all_series")
    return {"cut": list(cut), **{n: figures[n] for n in names}, **{n: learned[n] for n in counts}}


def measure(halves: Sequence[Halves]) -> dict[str, Any]:
    early, late = [one.early for one in halves], [one.late for one in halves]
    histories = [
        LabelledScores(name=one.name, step=timedelta(seconds=one.step_seconds), score=one.score, is_trouble=one.labels)
        for one in early
    ]
    learned = learn_sensitivity(histories)
    within = {
        f"learned_{budget:g}_a_week": learn_sensitivity(histories, alarms_per_week=budget).limits for budget in BUDGETS
    }
    scores = [np.concatenate([one.early.score, one.late.score]) for one in halves]
    limits = learned.limits or tuple(RECOMMENDED for _ in halves)
    on_value: dict[str, Any] = {}
    for name, hours in ON_VALUE.items():
        beyond, by_hour = _on_value(halves, hours)
        on_value[name] = _outcome(halves, beyond, [1.0] * len(halves)) | {"series_by_hour": sum(by_hour)}
    own = tuple(found[1] if (found := best_f1([one])) else RECOMMENDED for one in early)
    methods = {
        "learned": _outcome(halves, scores, limits),
        **{name: _outcome(halves, scores, found) for name, found in within.items() if found},
        "recommended_0.5": _outcome(halves, scores, [RECOMMENDED] * len(halves)),
        "own_best": _outcome(halves, scores, own),
        **on_value,
    }
    f1 = methods["learned"]["f1"]
    best = best_f1(late)
    hindsight = _hindsight(late)
    return {
        "series": len(halves),
        "rows_scored": sum(len(one.labels) for one in late),
        "incidents_learned_from": learned.incidents,
        "incidents_scored": sum(len(runs(one.labels)) for one in late),
        "pooling": str(learned.share),
        "limits": {one.name: limit for one, limit in zip(halves, limits, strict=True)},
        "best_threshold_f1": best[0] if best else None,
        "best_threshold": best[1] if best else None,
        "gap_to_best_threshold": best[0] - f1 if best else None,
        "best_per_series_f1": hindsight,
        "gap_to_best_per_series": hindsight - f1,
        "mean_of_own_best_f1": mean_of_own_best(late),
        "methods": methods,
    }


def _outcome(halves: Sequence[Halves], scores: Sequence[FloatArray], limits: Sequence[float]) -> dict[str, Any]:
    """F1 on the second halves, and how the predictions of the first halves held there."""
    late = [
        LabelledSeries(
            name=one.name,
            step_seconds=one.late.step_seconds,
            labels=one.late.labels,
            score=(score[one.middle :] >= limit).astype(np.float64),
        )
        for one, score, limit in zip(halves, scores, limits, strict=True)
    ]
    early = [one.early_alerts(score, limit) for one, score, limit in zip(halves, scores, limits, strict=True)]
    pool = pool_alerts(early, [one.middle for one in halves])
    pairs = [one.alerts(score, limit, pool) for one, score, limit in zip(halves, scores, limits, strict=True)]
    told = [(p, seen) for p, seen in pairs if p.is_told]
    held = sum(p.holds(seen) for p, seen in told)
    interval = binomtest(held, len(told)).proportion_ci(method="wilson") if told else None
    found = score_at(late, 1.0)
    return {
        "f1": found.f1 or 0.0,
        "mean_f1": float(np.mean([score_at([one], 1.0).f1 or 0.0 for one in late if one.labels.any()])),
        "precision": found.precision,
        "recall": found.recall,
        "false_alarms_per_week": found.false_episodes_per_series_week,
        "predictions": len(told),
        "predictions_held": held,
        "share_held": held / len(told) if told else None,
        "share_held_interval": [interval.low, interval.high] if interval else None,
        "inside_interval": sum(p.low <= seen <= p.high for p, seen in told),
        "held_of_all_series": sum(p.holds(seen) for p, seen in pairs),
        "per_series": [
            {
                "series": one.name,
                "predicted_per_week": p.per_week,
                "low": p.low,
                "high": p.high,
                "seen_per_week": seen,
                "alerts_learned_from": p.count,
                "weeks": p.weeks,
                "told": p.is_told,
                "why_not": p.reason,
            }
            for one, (p, seen) in zip(halves, pairs, strict=True)
        ],
    }


def _on_value(halves: Sequence[Halves], hours: Hours) -> tuple[list[FloatArray], list[bool]]:
    """Limits on the value from the budget of false alarms; a row's score is 1 beyond them. Which are by hour."""
    found = [beyond_limits(one.times, one.values, one.early.labels, budget=BUDGET, hours=hours) for one in halves]
    return [score for score, _ in found], [is_by_hour for _, is_by_hour in found]


def _hindsight(late: Sequence[LabelledSeries]) -> float:
    """The highest F1 over all rows that one threshold for each series can reach (Dinkelbach's iteration)."""
    tables: list[tuple[FloatArray, FloatArray]] = []
    for one in late:
        level = found_at(one)
        order = np.argsort(-level, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(level[order])), len(level) - 1)
        found = np.cumsum(one.labels[order])[ends].astype(np.float64)
        tables.append((np.append(0.0, found), np.append(0.0, ends + 1 - found)))
    trouble = float(sum(np.count_nonzero(one.labels) for one in late))
    f1 = 0.0
    for _ in range(50):
        places = [int(np.argmax((2.0 - f1) * found - f1 * false)) for found, false in tables]
        found = sum(float(t[0][at]) for t, at in zip(tables, places, strict=True))
        false = sum(float(t[1][at]) for t, at in zip(tables, places, strict=True))
        better = 2.0 * found / (found + false + trouble)
        if better <= f1 + 1e-12:
            break
        f1 = better
    return f1


def _part(series: LabelledSeries, start: int, end: int) -> LabelledSeries:
    rows = slice(start, end)
    return LabelledSeries(
        name=series.name, step_seconds=series.step_seconds, labels=series.labels[rows], score=series.score[rows]
    )


def _show(figures: dict[str, Any]) -> None:
    rows = [
        (
            name.replace("_", " "), one["f1"], one["mean_f1"], one["precision"], one["recall"],
            one["false_alarms_per_week"], f"{one['predictions']} of {figures['series']}", one["predictions_held"],
            one["share_held"], one["held_of_all_series"],
        )
        for name, one in figures["methods"].items()
    ]  # fmt: skip
    columns = ("limit", "F1", "mean F1", "precision", "recall", "false/week", "predicted", "held",
               "share", "held of all")  # fmt: skip
    print_table(f"Second halves of {figures['series']} series, {figures['rows_scored']:,} rows", columns, rows)
    hindsight = [
        ("one threshold for all", figures["best_threshold_f1"], figures["gap_to_best_threshold"]),
        ("one for each series", figures["best_per_series_f1"], figures["gap_to_best_per_series"]),
    ]
    print_table("Best in hindsight", ("threshold", "F1", "learned is behind by"), hindsight)
    print(f"learned from {figures['incidents_learned_from']} incidents, pooling {figures['pooling']}")
    if "cuts" in figures:
        rows = [
            (
                " ".join(f"{share:.1%}" for share in one["cut"]), one["f1"], one["best_threshold_f1"],
                one["gap_to_best_threshold"], one["gap_to_best_per_series"], one["predictions"],
                one["predictions_held"], one["held_of_all_series"],
            )
            for one in figures["cuts"]
        ]  # fmt: skip
        columns = ("from, cut, to", "F1", "best", "behind", "behind each", "predicted", "held", "held of all")
        print_table("The same on other cuts", columns, rows)
    learned = figures["methods"]["learned"]
    if learned["share_held_interval"]:
        low, high = learned["share_held_interval"]
        print(
            f"within 25 %: {learned['predictions_held']} of {learned['predictions']} ({low:.0%} to {high:.0%} at 95 %)"
        )
    for one in learned["per_series"]:
        told = f"{one['low']:.3g} to {one['high']:.3g}" if one["told"] else f"no prediction: {one['why_not']}"
        print(
            f"  {one['series'][:8]}  {one['predicted_per_week']:7.2f} -> {one['seen_per_week']:7.2f} per week  {told}"
        )


if __name__ == "__main__":
    main()
