"""Judging: which verdict, on which side, how soon, and in which words."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.detection.baseline import Baseline, fit
from quell.detection.fleet import advance_fleet
from quell.detection.judge import judge, judge_with_onset, verdict_id
from quell.detection.judgement import judge_columns
from quell.incidents.labels import fingerprint
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
STEP = timedelta(seconds=5)
STALE = timedelta(minutes=2)
NAN = float("nan")
RATIO = Signal(
    name="errors",
    query="q",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=STEP,
    min_effect=0.05,
)
TRAFFIC = replace(RATIO, name="traffic", kind=SignalKind.TRAFFIC, direction=Direction.BOTH, unit="req/s", min_effect=1)


def matrix(values: object, *, end: datetime = NOW) -> SeriesMatrix:
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(len(table), -1)
    timestamps = end.timestamp() - np.arange(len(table))[::-1] * STEP.total_seconds()
    labels = tuple({"instance": f"i-{n}"} for n in range(table.shape[1]))
    return SeriesMatrix(timestamps=timestamps, values=table, labels=labels)


def noise(*shape: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(size=shape)


def calm(signal: Signal = RATIO, *, samples: int = 18, series: int = 1, level: float = 0.0) -> Baseline:
    """A baseline of the samples before the last ten steps."""
    history = np.full((samples, series), level) + (noise(samples, series) if level else 0.0)
    return fit(matrix(history, end=NOW - 10 * STEP), signal, now=NOW - 10 * STEP, minimum_samples=12)


def judged(
    baseline: Baseline | None, values: object, signal: Signal = RATIO, *, late: timedelta = timedelta(0)
) -> list[Verdict]:
    return judge(baseline, matrix(values), signal, now=NOW + late, stale_after=STALE)


def only(verdicts: list[Verdict]) -> Verdict:
    [verdict] = verdicts
    return verdict


def test_an_error_ratio_of_0_6_is_anomalous_at_its_first_sample_after_ninety_calm_seconds() -> None:
    verdict = only(judged(calm(), [0, 0, 0, 0.6]))
    assert verdict.kind is VerdictKind.ANOMALOUS
    assert (verdict.value, verdict.expected, verdict.upper, verdict.lower) == (0.6, 0.0, 0.05, None)
    assert 0.5 <= verdict.score <= 1.0
    assert verdict.reason.startswith("60 % is above 5 % (expected 0 %); what departs most is the value itself")
    assert "18 samples, a short history, hence a wide band" in verdict.reason
    assert verdict.baseline == "errors@20261102T115910Z"


def test_what_nobody_cares_about_is_never_anomalous() -> None:
    assert only(judged(calm(), [0, 0, 0, 0.04])).kind is VerdictKind.NORMAL


def test_a_single_sample_in_the_window_is_judged_as_it_is() -> None:
    assert only(judged(calm(), [NAN, NAN, 0.06])).kind is VerdictKind.ANOMALOUS


def test_the_onset_is_the_first_sample_of_the_unbroken_run() -> None:
    values = [0.6, 0, 0, 0.6, NAN, 0.6, 0.6]
    [(_, onset)], _ = judge_with_onset(calm(), None, matrix(values), RATIO, now=NOW, stale_after=STALE)
    assert onset == (NOW - 3 * STEP).timestamp()


def test_trouble_lasts_as_long_as_the_value_stays_away_and_ends_with_its_first_normal_sample() -> None:
    """The band does not come to meet it, however often the sweep asks."""
    baseline, fleet = calm(samples=300), None
    values = [0.0] * 5 + [0.6] * 200 + [0.0]
    kinds: list[VerdictKind] = []
    for end in range(1, len(values) + 1):
        now = NOW + end * STEP
        window = matrix(values[max(end - 10, 0) : end], end=now)
        found, fleet = judge_with_onset(baseline, fleet, window, RATIO, now=now, stale_after=STALE)
        [(verdict, _)] = found
        kinds.append(verdict.kind)
    assert kinds == [VerdictKind.NORMAL] * 5 + [VerdictKind.ANOMALOUS] * 200 + [VerdictKind.NORMAL]


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, 39)), seed=st.integers(0, 9))
def test_asking_often_gives_the_same_verdict_as_asking_once(cuts: set[int], seed: int) -> None:
    values = noise(40, 3, seed=seed) + 50.0
    values[30:, 1] += 40.0
    signal, baseline = replace(TRAFFIC, min_effect=0.0), calm(TRAFFIC, samples=700, series=3, level=50.0)
    end = NOW + 30 * STEP
    once, _ = judge_with_onset(baseline, None, matrix(values, end=end), signal, now=end, stale_after=STALE)
    fleet = None
    for cut in sorted({*cuts, 40}):
        window = matrix(values[:cut], end=end - (40 - cut) * STEP)
        often, fleet = judge_with_onset(baseline, fleet, window, signal, now=end, stale_after=STALE)
    assert [v.kind for v, _ in often] == [v.kind for v, _ in once]
    assert often.score == pytest.approx(once.score, abs=1e-3)
    assert often.since.tolist() == once.since.tolist()


def test_only_the_side_that_matters_is_trouble() -> None:
    baseline = calm(TRAFFIC, samples=600, level=100)
    high, low = [300] * 3, [1] * 3
    for direction, expected in (
        (Direction.BOTH, (True, True)),
        (Direction.HIGH, (True, False)),
        (Direction.LOW, (False, True)),
    ):
        signal = replace(TRAFFIC, direction=direction, kind=SignalKind.OTHER)
        found = tuple(only(judged(baseline, v, signal)).kind is VerdictKind.ANOMALOUS for v in (high, low))
        assert found == expected, direction


def test_an_infinite_value_is_anomalous_and_has_no_number() -> None:
    latency = replace(RATIO, kind=SignalKind.LATENCY)
    verdict = only(judged(calm(latency), [0, 0, np.inf], latency))
    assert verdict.kind is VerdictKind.ANOMALOUS
    assert verdict.value is None and verdict.score == 1.0


def test_traffic_that_falls_to_exactly_zero_is_a_drop_and_not_merely_low() -> None:
    verdict = only(judged(calm(TRAFFIC, level=40), [40, 0, 0], TRAFFIC))
    assert verdict.kind is VerdictKind.DROP_TO_ZERO
    assert verdict.score >= 0.5
    assert verdict.reason.startswith("fell to exactly 0; expected 40")


def test_zero_is_a_drop_even_where_a_short_history_makes_the_band_reach_zero() -> None:
    baseline = calm(TRAFFIC, samples=12, level=3)
    assert only(judged(baseline, [3, 3, 3], TRAFFIC)).lower == 0.0
    assert only(judged(baseline, [3, 0, 0], TRAFFIC)).kind is VerdictKind.DROP_TO_ZERO


def test_zero_is_nothing_special_where_it_was_normal_before() -> None:
    history = np.tile([0.0, 3.0, 5.0], 100)
    baseline = fit(matrix(history, end=NOW - STEP), TRAFFIC, now=NOW)
    assert only(judged(baseline, [3, 0, 0], TRAFFIC)).kind is VerdictKind.NORMAL


def test_an_error_ratio_of_zero_is_good_news() -> None:
    history = np.full(100, 0.3)
    baseline = fit(matrix(history, end=NOW - STEP), RATIO, now=NOW)
    assert only(judged(baseline, [0.3, 0, 0])).kind is VerdictKind.NORMAL


def test_a_sample_older_than_the_limit_is_stale_whatever_its_value() -> None:
    values = [0.6, *[NAN] * 25]
    verdict = only(judged(calm(), values))
    assert verdict.kind is VerdictKind.STALE
    assert "is 125 s old" in verdict.reason
    assert only(judged(calm(), [0.6], late=STALE)).kind is VerdictKind.ANOMALOUS
    assert only(judged(calm(), [0.6], late=STALE + STEP)).kind is VerdictKind.STALE


def test_a_series_of_the_baseline_that_the_window_lacks_is_no_data() -> None:
    baseline = calm(series=2)
    present, absent = judged(baseline, [0, 0, 0])
    assert (present.kind, absent.kind) == (VerdictKind.NORMAL, VerdictKind.NO_DATA)
    assert absent.labels == {"instance": "i-1"}
    assert absent.score == 1.0
    assert absent.value is None


def test_nothing_at_all_is_no_data_for_every_known_series() -> None:
    empty = SeriesMatrix(timestamps=np.array([NOW.timestamp()]), values=np.empty((1, 0)), labels=())
    found = judge(calm(series=3), empty, RATIO, now=NOW, stale_after=STALE)
    assert [v.kind for v in found] == [VerdictKind.NO_DATA] * 3


def test_not_a_number_is_no_data_and_never_normal() -> None:
    """Isolating an instance leaves 0/0: its error ratio is not healthy, it is unknown."""
    assert only(judged(calm(), [NAN, NAN, NAN])).kind is VerdictKind.NO_DATA


def test_a_series_that_was_mostly_away_scores_low_when_it_is_away() -> None:
    history = np.full((100, 1), NAN)
    history[::10] = 1.0
    baseline = fit(matrix(history, end=NOW - STEP), RATIO, now=NOW, minimum_samples=5)
    assert only(judged(baseline, [NAN, NAN])).score == pytest.approx(0.1)


def test_a_signal_that_never_had_data_gets_one_verdict_that_says_so() -> None:
    empty = SeriesMatrix(timestamps=np.empty(0), values=np.empty((0, 0)), labels=())
    verdict = only(judge(None, empty, replace(RATIO, service="checkout"), now=NOW, stale_after=STALE))
    assert verdict.kind is VerdictKind.NO_DATA and verdict.labels == {"service": "checkout"}
    assert "check the query" in verdict.reason


def test_too_few_samples_are_warming_up_and_never_a_guess() -> None:
    short = fit(matrix(np.zeros(11), end=NOW - STEP), RATIO, now=NOW, minimum_samples=12)
    verdict = only(judged(short, [0.6, 0.6, 0.6]))
    assert verdict.kind is VerdictKind.WARMING_UP
    assert verdict.score == 0.0
    assert verdict.reason == "11 samples of history, 12 are needed to judge"


def test_an_unknown_series_is_warming_up_beside_known_ones() -> None:
    known, unknown = judged(calm(), [[0.6, 0.6]] * 3)
    assert (known.kind, unknown.kind) == (VerdictKind.ANOMALOUS, VerdictKind.WARMING_UP)
    assert unknown.baseline is None and "next refresh" in unknown.reason


def test_without_a_baseline_everything_is_warming_up() -> None:
    verdict = only(judged(None, [0.6] * 3))
    assert verdict.kind is VerdictKind.WARMING_UP
    assert verdict.reason == "no baseline is fitted yet: start refresh-baselines"


def test_a_verdict_is_known_by_signal_and_fingerprint() -> None:
    verdict = only(judged(calm(), [0, 0, 0]))
    assert verdict.id == verdict_id("errors", {"instance": "i-0"}) == f"errors:{fingerprint({'instance': 'i-0'})}"
    assert verdict.reason == "0 % stays below 5 % (expected 0 %)"


def test_a_normal_value_of_a_two_sided_signal_names_both_limits() -> None:
    verdict = only(judged(calm(TRAFFIC, samples=600, level=100), [100.0] * 3, TRAFFIC))
    assert verdict.reason.startswith("100 req/s is between 9") and " and 10" in verdict.reason


values_of_series = st.lists(
    st.lists(st.sampled_from([0.0, 0.02, 0.06, 0.6, NAN]), min_size=4, max_size=4), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(columns=values_of_series, order=st.randoms(use_true_random=False))
def test_series_judged_together_equal_series_judged_alone(columns: list[list[float]], order: random.Random) -> None:
    baseline = calm(series=len(columns))
    window = matrix(np.array(columns).T)
    together = {v.id: v for v in judge(baseline, window, RATIO, now=NOW, stale_after=STALE)}
    places = list(range(len(columns)))
    order.shuffle(places)
    shuffled = replace(window, values=window.values[:, places], labels=tuple(window.labels[p] for p in places))
    assert {v.id: v for v in judge(baseline, shuffled, RATIO, now=NOW, stale_after=STALE)} == together
    for place in places:
        one = replace(window, values=window.values[:, [place]], labels=(window.labels[place],))
        alone = judge(baseline, one, RATIO, now=NOW, stale_after=STALE)[0]
        assert alone == together[alone.id]


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_scores_do_not_depend_on_the_unit(scale: float, seed: int) -> None:
    signal = replace(TRAFFIC, kind=SignalKind.OTHER, min_effect=0.0)
    history, window = 100 + 50 * noise(300, 3, seed=seed), 100 + 150 * noise(5, 3, seed=seed + 1)
    scores: list[FloatArray] = []
    for factor in (1.0, scale):
        baseline = fit(matrix(factor * history, end=NOW - 5 * STEP), signal, now=NOW)
        found, _ = judge_columns(baseline, None, matrix(factor * window), signal, now=NOW, stale_after=STALE)
        scores.append(found.score)
    assert scores[1] == pytest.approx(scores[0], rel=1e-3, abs=1e-3)


def test_calm_noise_keeps_to_the_budget_of_false_alarms() -> None:
    """100 series, half a week each at one point a minute: 2 a week are 100 alarms, and hold within a factor of 1.5."""
    signal = replace(TRAFFIC, kind=SignalKind.OTHER, min_effect=0.0, step=timedelta(minutes=1))
    values = np.random.default_rng(3).normal(size=(2000 + 5040, 100))
    minutes = NOW.timestamp() - 60.0 * np.arange(len(values))[::-1]
    history = SeriesMatrix(
        timestamps=minutes[:2000], values=values[:2000], labels=tuple({"n": str(n)} for n in range(100))
    )
    baseline = fit(history, signal, now=NOW - timedelta(minutes=5040), false_alarms_per_week=2.0)
    held, _ = advance_fleet(baseline.fleet, values[2000:], baseline.limits(signal))
    begun = held.held & ~np.vstack([np.zeros((1, 100), dtype=bool), held.held[:-1]])
    assert 100 / 1.5 <= begun.sum() <= 100 * 1.5
