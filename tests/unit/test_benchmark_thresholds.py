"""The benchmarks of prevention measure what they say, on a few made-up series."""

from typing import Any

import numpy as np
import pytest

from benchmarks.delay_score import LabelledSeries
from benchmarks.made_up_signals import made_up_signal, recomputed
from benchmarks.recompute import measure as measure_recompute
from benchmarks.thresholds import Halves, measure
from quell.incidents.series import FloatArray

pytestmark = pytest.mark.unit
ROWS = 20_160  # two weeks


def halves(seed: int, late: float) -> Halves:
    """Incidents that reach a score of 0.9 in the first half and another one in the second; chance alarms at 0.7."""
    random = np.random.default_rng(seed)
    score: FloatArray = random.random(ROWS) * 0.4
    score[random.choice(ROWS, 200, replace=False)] = 0.7
    labels = np.zeros(ROWS, dtype=np.bool_)
    for start in range(500, ROWS - 20, 1_000):
        labels[start : start + 20] = True
        score[start : start + 20] = 0.9 if start < ROWS // 2 else late
    middle = ROWS // 2
    parts = [
        LabelledSeries(name=f"s{seed}", step_seconds=60.0, labels=labels[rows], score=score[rows])
        for rows in (slice(0, middle), slice(middle, ROWS))
    ]
    return Halves(name=f"s{seed}", times=60.0 * np.arange(ROWS), values=score, early=parts[0], late=parts[1])


@pytest.fixture(scope="module")
def alike() -> dict[str, Any]:
    return measure([halves(seed, late=0.9) for seed in range(4)])


def test_limits_on_halves_that_are_alike_are_as_good_as_hindsight(alike: dict[str, Any]) -> None:
    assert abs(alike["gap_to_best_threshold"]) < 0.01 and abs(alike["gap_to_best_per_series"]) < 0.01
    assert alike["best_per_series_f1"] >= alike["best_threshold_f1"]
    assert alike["incidents_learned_from"] == 40 and alike["incidents_scored"] == 40


def test_the_second_half_scores_and_is_not_learned_from() -> None:
    """Incidents that look quite otherwise there: the limit stays, and the gap shows."""
    other = measure([halves(seed, late=0.5) for seed in range(4)])
    assert other["gap_to_best_threshold"] > 0.2
    assert set(other["limits"].values()) == set(
        measure([halves(seed, late=0.9) for seed in range(4)])["limits"].values()
    )


def test_a_prediction_from_few_alerts_is_not_counted(alike: dict[str, Any]) -> None:
    told = alike["methods"]["learned"]
    assert told["predictions"] == 0 and told["share_held"] is None
    many = alike["methods"]["own_best"]
    assert len(many["per_series"]) == 4 and all(one["why_not"] for one in told["per_series"])


def test_recomputing_made_up_signals_tightens_their_limits() -> None:
    figures = measure_recompute(3, 7)
    assert figures["points"] == 3 * 7 * 1440 and figures["incidents"] == 9
    assert figures["caught_new"] >= figures["caught_old"]
    assert str(recomputed(made_up_signal(5, 7)).new) == str(recomputed(made_up_signal(5, 7)).new)
