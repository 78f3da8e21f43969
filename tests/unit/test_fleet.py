"""Many series at once: the same scores as one by one, from little that is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.detection.fleet import Fleet, Limits, RatedRows, advance_fleet, fit_fleet, judge_fleet
from quell.detection.passage import COLUMNS, DECADES, NO_VALUE, RAW_DECADES, SILENT, pass_series
from quell.incidents.series import FloatArray

pytestmark = pytest.mark.unit

LIMITS = Limits(decades=2.67)


def _matrix(rows: int, columns: int, period: int) -> FloatArray:
    noise = np.random.default_rng(rows).normal(size=(rows, columns))
    return 10.0 + 3.0 * np.sin(2 * np.pi * np.arange(rows) / period)[:, np.newaxis] + noise


def _alone(values: FloatArray, period: int) -> tuple[FloatArray, np.ndarray]:
    out, stream = np.empty((len(values), COLUMNS)), np.empty(len(values), np.int8)
    slots, periods = np.arange(len(values)), np.full(len(values), period)
    pass_series(values.copy(), slots, periods, LIMITS.decades, out, stream)
    return out, stream


@pytest.mark.parametrize(("period", "room"), [(288, 12), (24, 2), (24, 30), (7, 3), (1, 3), (0, 5)])
def test_the_row_after_a_fit_is_judged_as_in_one_passage(period: int, room: int) -> None:
    values = _matrix(2500, 3, max(period, 7))
    fleet = fit_fleet(values[: 2500 - room], period=period, room=room)
    judged = judge_fleet(fleet, values[2500 - room :], LIMITS)
    for column in range(3):
        alone, streams = _alone(values[:, column], period)
        np.testing.assert_allclose(judged.columns[0, column], alone[2500 - room], rtol=1e-4, atol=1e-4)
        seen = judged.columns[: fleet.room, column, RAW_DECADES]
        np.testing.assert_allclose(seen, alone[2500 - room :, RAW_DECADES][: fleet.room], atol=0.1)  # tails stand still
        assert judged.stream[0, column] == streams[2500 - room]


def _parts(fleet: Fleet, new: FloatArray, cuts: list[int]) -> list[RatedRows]:
    parts, start = [], 0
    for end in sorted({*cuts, len(new)}):
        part, fleet = advance_fleet(fleet, new[start:end], LIMITS)
        parts.append(part)
        start = end
    return parts


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 11), max_size=4), missing=st.booleans())
def test_judging_in_increments_equals_judging_at_once(cuts: list[int], missing: bool) -> None:
    values = _matrix(1200, 5, 96)
    values[1195, 2] = np.nan if missing else 40.0
    fleet, new = fit_fleet(values[:1188], period=96, room=12), values[1188:]
    whole, parts = judge_fleet(fleet, new, LIMITS), _parts(fleet, new, cuts)
    # What goes from one part to the next is stored in single precision.
    np.testing.assert_allclose(np.concatenate([p.columns for p in parts]), whole.columns, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([p.stream for p in parts]), whole.stream)
    np.testing.assert_array_equal(np.concatenate([p.held for p in parts]), whole.held)


def test_judging_leaves_the_fleet_as_it_is() -> None:
    values = _matrix(800, 2, 96)
    fleet = fit_fleet(values[:-3], period=96, room=3)
    first = judge_fleet(fleet, values[-3:] + 30.0, LIMITS)
    second = judge_fleet(fleet, values[-3:] + 30.0, LIMITS)
    np.testing.assert_array_equal(first.columns, second.columns)


def test_trouble_lasts_until_the_series_is_back_and_teaches_nothing() -> None:
    """However long it lasts, it is judged against the time before; the band after it is as if it had not been."""
    calm = _matrix(1200, 2, 96)
    trouble = calm.copy()
    trouble[1100:1160, 0] += 40.0
    fleet = fit_fleet(calm[:1100], period=96, room=100)
    judged, after = advance_fleet(fleet, trouble[1100:1160], LIMITS)
    assert judged.held[:, 0].all() and not judged.held[:, 1].any()
    back = judge_fleet(after, trouble[1160:1161], LIMITS)
    assert not back.held.any()
    _, slept = advance_fleet(fleet, np.full((60, 2), np.nan), LIMITS)
    would_be = judge_fleet(slept, trouble[1160:1161], LIMITS)
    np.testing.assert_allclose(back.columns[0, 0, 1:4], would_be.columns[0, 0, 1:4], rtol=1e-5)


def test_only_the_side_that_is_trouble_and_only_what_is_large_enough_counts() -> None:
    values = _matrix(1200, 1, 96)
    fleet = fit_fleet(values[:-1], period=96, room=2)
    low, high = values[-1:] - 40.0, values[-1:] + 40.0
    assert judge_fleet(fleet, low, LIMITS).held.all() and judge_fleet(fleet, high, LIMITS).held.all()
    assert not judge_fleet(fleet, low, Limits(decades=2.67, side=1)).held.any()
    assert not judge_fleet(fleet, high, Limits(decades=2.67, side=-1)).held.any()
    assert not judge_fleet(fleet, high, Limits(decades=2.67, least=100.0)).held.any()


def test_a_young_series_is_judged_with_a_wide_band_once_it_has_the_samples_that_are_asked_for() -> None:
    values = _matrix(30, 1, 96) * 0.0 + np.random.default_rng(0).normal(size=(30, 1)) + 50.0
    fleet = fit_fleet(values[:20], period=288, room=10)
    assert judge_fleet(fleet, values[20:21], LIMITS).stream[0, 0] == SILENT
    young = Limits(decades=2.67, fewest=12)
    calm, wild = judge_fleet(fleet, values[20:21], young), judge_fleet(fleet, values[20:21] + 60.0, young)
    assert not calm.held.any() and wild.held.all()
    old = fit_fleet(np.random.default_rng(1).normal(size=(3000, 1)) + 50.0, period=288, room=10)
    width = [judge_fleet(f, values[20:21], young).columns[0, 0, 3] - 50.0 for f in (fleet, old)]
    assert width[0] > 1.2 * width[1]


def test_excluded_rows_teach_nothing() -> None:
    """An incident that is left out leaves no trace: whatever happened in it, the fit is the same."""
    calm = _matrix(1000, 2, 96)
    incident = calm.copy()
    incident[700:760] += 500.0
    calm[700:760] = incident[700:760] = np.nan
    one, other = fit_fleet(calm, period=96, room=4), fit_fleet(incident, period=96, room=4)
    np.testing.assert_array_equal(one.memory, other.memory)
    np.testing.assert_array_equal(one.outlook, other.outlook)


def test_rows_beyond_the_room_are_judged_without_the_phases() -> None:
    """A refresh that is late or fails must not stop the sweeps."""
    values = _matrix(1200, 1, 96)
    values[-1] += 60.0
    judged = judge_fleet(fit_fleet(values[:1100], period=96, room=4), values[1100:], LIMITS)
    assert judged.held[-1, 0] and judged.held[:-1, 0].mean() < 0.05


def test_a_series_that_never_had_a_value_is_silent() -> None:
    values = _matrix(400, 2, 24)
    values[:, 1] = np.nan
    judged = judge_fleet(fit_fleet(values[:-1], period=24, room=1), values[-1:], LIMITS)
    assert judged.stream[0, 1] == NO_VALUE and np.isnan(judged.columns[0, 1]).all()
    assert judged.stream[0, 0] >= 0 and judged.columns[0, 0, DECADES] >= 0.0
