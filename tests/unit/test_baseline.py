"""Fitting: level, season, spread and band, compared with numpy and scipy where they have an answer."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from quell.detection.archive import decode, encode
from quell.detection.baseline import NO_SEASON, Baseline, band, fit
from quell.detection.columns import quantile_of_sorted, robust_spread, sort_columns
from quell.detection.season import DAILY, SEASONS, WEEKLY
from quell.incidents.errors import InvalidInput
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRAFFIC = Signal(
    name="traffic", query="q", kind=SignalKind.TRAFFIC, direction=Direction.BOTH, unit="req/s", step=MINUTE
)
PLAIN = replace(TRAFFIC, kind=SignalKind.OTHER, unit="")
RATIO = replace(TRAFFIC, kind=SignalKind.ERROR_RATIO, direction=Direction.HIGH, unit="ratio", min_effect=0.05)


def matrix(values: object, *, step: timedelta = MINUTE, end: datetime = NOW) -> SeriesMatrix:
    """Columns of values whose last row is at `end`."""
    table = np.asarray(values, dtype=np.float64)
    table = table.reshape(len(table), -1)
    timestamps = end.timestamp() - np.arange(len(table))[::-1] * step.total_seconds()
    labels = tuple({"instance": f"i-{n}"} for n in range(table.shape[1]))
    return SeriesMatrix(timestamps=timestamps, values=table, labels=labels)


def noise(*shape: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(size=shape)


holey = arrays(
    np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(-1e6, 1e6) | st.just(np.nan)
)


@given(values=holey, share=st.floats(0, 1))
def test_quantiles_are_those_of_numpy_with_gaps_left_out(values: FloatArray, share: float) -> None:
    ours = quantile_of_sorted(*sort_columns(values), share)
    for column, value in zip(values.T, ours, strict=True):
        there = column[~np.isnan(column)]
        assert np.isnan(value) if len(there) == 0 else value == pytest.approx(np.quantile(there, share), abs=1e-6)


def test_the_spread_is_the_larger_of_mad_and_range_and_consistent_for_the_normal() -> None:
    values = noise(4000, 3) * np.array([1.0, 5.0, 0.1])
    assert robust_spread(values) == pytest.approx([1.0, 5.0, 0.1], rel=0.06)
    mad = stats.median_abs_deviation(values, axis=0, scale="normal")
    width = np.ptp(np.quantile(values, [0.1, 0.9], axis=0), axis=0) / (2 * stats.norm.ppf(0.9))
    assert robust_spread(values) == pytest.approx(np.maximum(mad, width), rel=1e-3)


def test_the_spread_sees_movement_where_most_samples_stand_still() -> None:
    values = np.zeros((100, 1))
    values[::4] = 5.0
    assert stats.median_abs_deviation(values[:, 0]) == 0
    assert robust_spread(values)[0] > 1.0


def test_few_samples_get_students_wider_band() -> None:
    widths = [np.median(fit(matrix(noise(n, 300)), PLAIN, now=NOW).margin_up) for n in (12, 30, 100, 450)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 8 > widths[-1] > stats.norm.isf(0.5 / 7 / 1440 / 2)


@pytest.mark.parametrize("samples", [500, 2000, 20_000])
def test_the_tail_of_normal_noise_is_continued_on_the_wide_side(samples: int) -> None:
    exact = stats.norm.isf(0.5 / 7 / 1440 / 2)
    margin = np.median(fit(matrix(noise(samples, 60)), PLAIN, now=NOW).margin_up)
    assert exact < margin < 1.5 * exact


def test_a_heavy_tail_gets_a_wider_band_than_a_light_one_of_the_same_spread() -> None:
    heavy = np.random.default_rng(2).standard_t(3, size=(20_000, 20))
    light = noise(20_000, 20) * robust_spread(heavy)
    heavy_width = fit(matrix(heavy), PLAIN, now=NOW).margin_up
    assert np.median(heavy_width) > 2 * np.median(fit(matrix(light), PLAIN, now=NOW).margin_up)


def test_a_larger_budget_of_false_alarms_narrows_the_band() -> None:
    history = matrix(noise(2000, 10))
    strict = fit(history, PLAIN, now=NOW, false_alarms_per_week=0.1)
    loose = fit(history, PLAIN, now=NOW, false_alarms_per_week=50)
    assert (loose.margin_up < strict.margin_up).all()


@pytest.mark.parametrize("level", [0.0, 0.2, 1000.0])
@pytest.mark.parametrize("samples", [12, 600])
def test_a_constant_series_has_a_band_of_some_width(level: float, samples: int) -> None:
    found = fit(matrix(np.full(samples, level)), PLAIN, now=NOW)
    assert found.margin_up[0] > 0 and found.margin_down[0] > 0
    assert found.margin_up[0] == pytest.approx(0.01 * level, abs=1e-8)


def test_the_smallest_effect_that_matters_is_the_narrowest_band() -> None:
    assert fit(matrix(np.zeros(20)), RATIO, now=NOW).margin_up.tolist() == [0.05]


def test_a_count_that_is_mostly_zero_is_not_alarmed_by_its_usual_one() -> None:
    values = np.zeros(600)
    values[::40] = 1.0
    assert fit(matrix(values), PLAIN, now=NOW).margin_up[0] >= 1.0
    assert fit(matrix(values[:200]), PLAIN, now=NOW).margin_up[0] >= 1.0


def daily(days: int, spread: float = 1.0, series: int = 4) -> FloatArray:
    minutes = np.arange(days * 1440)
    return 50 + 20 * np.sin(2 * np.pi * minutes / 1440)[:, np.newaxis] + spread * noise(len(minutes), series)


def test_a_day_is_used_where_it_was_seen_three_times_and_explains_the_values() -> None:
    found = fit(matrix(daily(4)), TRAFFIC, now=NOW)
    assert {SEASONS[index] for index in found.season} == {DAILY}
    expected = found.expected(np.array([(NOW + timedelta(hours=6)).timestamp()]))
    true = 50 + 20 * np.sin(2 * np.pi * (4 * 1440 - 1 + 360) / 1440)
    assert expected[0] == pytest.approx(np.full(4, true), abs=1.0)
    assert (found.margin_up < 8).all()


def test_two_days_are_not_enough_to_believe_in_a_day() -> None:
    found = fit(matrix(daily(2)), TRAFFIC, now=NOW)
    assert (found.season == NO_SEASON).all()
    assert (found.margin_up > 30).all()


def test_noise_has_no_season_however_long_the_history() -> None:
    found = fit(matrix(noise(4 * 7 * 288, 10), step=5 * MINUTE), PLAIN, now=NOW)
    assert (found.season == NO_SEASON).all()


def test_a_quiet_weekend_makes_a_week() -> None:
    hours = np.arange(4 * 168)
    weekend = (hours // 24) % 7 >= 5
    values = np.where(weekend, 10.0, 50 + 20 * np.sin(2 * np.pi * hours / 24))
    found = fit(matrix(values + noise(len(hours))), replace(TRAFFIC, step=60 * MINUTE), now=NOW)
    assert SEASONS[found.season[0]] is WEEKLY


def test_an_excluded_incident_leaves_the_band_as_it_was() -> None:
    calm = 0.01 * np.abs(noise(2000, 3))
    start, end = NOW - timedelta(minutes=500), NOW - timedelta(minutes=300)
    struck = matrix(calm)
    inside = (struck.timestamps >= start.timestamp()) & (struck.timestamps <= end.timestamp())
    values = calm.copy()
    values[inside] = 0.6
    taught = fit(replace(struck, values=values), RATIO, now=NOW)
    spared = fit(replace(struck, values=values), RATIO, now=NOW, excluded=[(start, end)])
    never = fit(matrix(calm).without(((start, end),)), RATIO, now=NOW)
    assert (taught.margin_up >= 0.5).all()
    assert np.array_equal(spared.margin_up, never.margin_up)
    assert np.array_equal(spared.level, never.level)


def test_a_short_incident_that_nobody_recorded_hardly_moves_the_band() -> None:
    calm = 0.02 * np.abs(noise(10_000, 3))
    struck = calm.copy()
    struck[5000:5030] = 0.6
    clean, spoilt = (fit(matrix(v), RATIO, now=NOW).margin_up for v in (calm, struck))
    assert (spoilt < 1.3 * clean).all()


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 1000), seed=st.integers(0, 99), samples=st.integers(20, 700))
def test_the_band_moves_and_stretches_with_the_values(shift: float, scale: float, seed: int, samples: int) -> None:
    values = 100 + noise(samples, 2, seed=seed) * 50
    one = fit(matrix(values), PLAIN, now=NOW)
    other = fit(matrix((values + shift) * scale), PLAIN, now=NOW)
    assert other.level == pytest.approx((one.level + shift) * scale, rel=1e-6, abs=1e-6)
    assert other.margin_up == pytest.approx(one.margin_up * scale, rel=1e-6)
    assert other.margin_down == pytest.approx(one.margin_down * scale, rel=1e-6)


def assert_same(one: Baseline, other: Baseline) -> None:
    for name in (field.name for field in fields(Baseline)):
        mine, theirs = getattr(one, name), getattr(other, name)
        pairs = zip(mine, theirs, strict=True) if name == "profiles" else [(mine, theirs)]
        for left, right in pairs:
            if isinstance(left, np.ndarray):
                np.testing.assert_array_equal(left, right, err_msg=name)
            else:
                assert left == right, name


def test_series_fitted_together_equal_series_fitted_alone_in_any_order() -> None:
    mixed = np.column_stack([daily(4, series=2), 50 + noise(4 * 1440, 3)])
    mixed[100:900, 3] = np.nan
    together = fit(matrix(mixed), TRAFFIC, now=NOW)
    order = [4, 2, 0, 3, 1]
    shuffled = fit(replace(matrix(mixed), values=mixed[:, order]), TRAFFIC, now=NOW)
    expected = together.expected(np.array([NOW.timestamp()]))[0]
    for place, column in enumerate(order):
        alone = fit(matrix(mixed[:, column]), TRAFFIC, now=NOW)
        for found, at in ((alone, 0), (shuffled, place)):
            assert found.margin_up[at] == together.margin_up[column]
            assert found.season[at] == together.season[column]
            assert found.expected(np.array([NOW.timestamp()]))[0, at] == expected[column]


def test_more_series_than_one_block_change_nothing() -> None:
    values = noise(50, 600)
    together = fit(matrix(values), PLAIN, now=NOW)
    last = fit(matrix(values[:, 590:]), PLAIN, now=NOW)
    assert np.array_equal(together.margin_up[590:], last.margin_up)


def test_gaps_and_infinities_teach_nothing() -> None:
    values = 50 + noise(400, 1)
    holes = np.full((800, 1), np.nan)
    holes[::2] = values
    holes[1] = np.inf
    found = fit(matrix(holes), PLAIN, now=NOW + MINUTE)
    assert found.samples.tolist() == [400]
    assert found.level[0] == np.median(values)
    assert found.margin_up[0] == fit(matrix(values), PLAIN, now=NOW).margin_up[0]
    assert found.presence[0] == pytest.approx(0.5)


def test_a_series_without_any_number_is_no_longer_expected_and_a_short_one_is_not_ready() -> None:
    values = 50 + noise(100, 3)
    values[:, 0] = np.nan
    values[:-5, 1] = np.nan
    found = fit(matrix(values), PLAIN, now=NOW)
    assert [labels["instance"] for labels in found.labels] == ["i-1", "i-2"]
    assert found.ready.tolist() == [False, True]
    assert found.presence.tolist() == [1.0, 1.0]


def test_a_series_silent_for_a_day_is_no_longer_expected() -> None:
    values = 50 + noise(3 * 1440, 2)
    values[-1441:, 0] = np.nan
    assert [labels["instance"] for labels in fit(matrix(values), PLAIN, now=NOW).labels] == ["i-1"]


@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (0, 3)])
def test_nothing_can_be_fitted_on_nothing_without_harm(shape: tuple[int, int]) -> None:
    empty = SeriesMatrix(
        timestamps=NOW.timestamp() - np.arange(shape[0])[::-1] * 60.0,
        values=np.empty(shape),
        labels=tuple({"n": str(n)} for n in range(shape[1])),
    )
    found = fit(empty, PLAIN, now=NOW)
    assert found.labels == ()
    assert_same(found, decode(*encode(found)))


def test_a_baseline_survives_storage() -> None:
    found = fit(matrix(np.column_stack([daily(4), 50 + noise(4 * 1440)])), TRAFFIC, now=NOW)
    body, blob = encode(found)
    assert body["version"] == "traffic@20261102T000000Z" and body["series"] == 5
    assert_same(found, decode(body, blob))


def test_a_baseline_of_an_unknown_format_is_refused() -> None:
    body, blob = encode(fit(matrix(noise(40)), PLAIN, now=NOW))
    with pytest.raises(InvalidInput, match="has format 99, this version reads 2"):
        decode({**body, "format": 99}, blob)


def test_the_band_is_open_on_the_side_that_is_no_trouble() -> None:
    found = fit(matrix(50 + noise(100)), TRAFFIC, now=NOW)
    at = np.array([NOW.timestamp()])
    assert band(found, replace(TRAFFIC, direction=Direction.HIGH), at).lower[0, 0] == -np.inf
    assert band(found, replace(TRAFFIC, direction=Direction.LOW), at).upper[0, 0] == np.inf
    both = band(found, TRAFFIC, at)
    assert both.lower[0, 0] < both.expected[0, 0] < both.upper[0, 0]


def test_the_band_of_what_cannot_be_negative_ends_at_zero() -> None:
    found = fit(matrix(1 + 0.5 * noise(100)), TRAFFIC, now=NOW)
    assert band(found, TRAFFIC, np.array([NOW.timestamp()])).lower[0, 0] == 0.0
