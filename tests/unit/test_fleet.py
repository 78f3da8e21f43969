"""Many series at once: the same scores as one by one, from little that is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.detection.fleet import advance_fleet, fit_fleet, judge_fleet
from quell.detection.passage import pass_series
from quell.incidents.series import FloatArray

pytestmark = pytest.mark.unit

THRESHOLD = 2.69


def _matrix(rows: int, columns: int, period: int) -> FloatArray:
    noise = np.random.default_rng(rows).normal(size=(rows, columns))
    return 10.0 + 3.0 * np.sin(2 * np.pi * np.arange(rows) / period)[:, np.newaxis] + noise


def _alone(values: FloatArray, period: int) -> tuple[FloatArray, np.ndarray]:
    out, stream = np.empty((len(values), 4)), np.empty(len(values), np.int8)
    pass_series(values.copy(), np.arange(len(values)), np.full(len(values), period), THRESHOLD, out, stream)
    return out, stream


@pytest.mark.parametrize(("period", "room"), [(288, 12), (24, 2), (24, 30), (7, 3), (1, 3), (0, 5)])
def test_the_row_after_a_fit_is_judged_as_in_one_passage(period: int, room: int) -> None:
    """Whether the kept slices of the days touch (30 rows of a 24-row day) or not."""
    values = _matrix(2500, 3, max(period, 7))
    fleet = fit_fleet(values[: 2500 - room], period=period, room=room)
    out, stream = judge_fleet(fleet, values[2500 - room :], threshold=THRESHOLD)
    for column in range(3):
        alone, streams = _alone(values[:, column], period)
        np.testing.assert_allclose(out[0, column], alone[2500 - room], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(out[:, column], alone[2500 - room :], rtol=0.05, atol=0.1)  # quantiles stand still
        assert stream[0, column] == streams[2500 - room]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 11), max_size=4), missing=st.booleans())
def test_judging_in_increments_equals_judging_at_once(cuts: list[int], missing: bool) -> None:
    values = _matrix(1200, 5, 96)
    values[1195, 2] = np.nan if missing else 40.0
    fleet, new = fit_fleet(values[:1188], period=96, room=12), values[1188:]
    whole, streams = judge_fleet(fleet, new, threshold=THRESHOLD)
    start = 0
    for end in sorted({*cuts, 12}):
        part, stream = judge_fleet(fleet, new[start:end], threshold=THRESHOLD)
        np.testing.assert_allclose(part, whole[start:end], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(stream, streams[start:end])
        fleet, start = advance_fleet(fleet, new[start:end], threshold=THRESHOLD), end


def test_judging_leaves_the_fleet_as_it_is() -> None:
    values = _matrix(800, 2, 96)
    fleet = fit_fleet(values[:-3], period=96, room=3)
    first, _ = judge_fleet(fleet, values[-3:] + 30.0, threshold=THRESHOLD)
    second, _ = judge_fleet(fleet, values[-3:] + 30.0, threshold=THRESHOLD)
    np.testing.assert_array_equal(first, second)


def test_excluded_rows_teach_nothing() -> None:
    """An incident that is left out leaves no trace: whatever happened in it, the fit is the same."""
    calm = _matrix(1000, 2, 96)
    incident = calm.copy()
    incident[700:760] += 500.0
    calm[700:760] = incident[700:760] = np.nan
    one, other = fit_fleet(calm, period=96, room=4), fit_fleet(incident, period=96, room=4)
    np.testing.assert_array_equal(one.memory, other.memory)
    np.testing.assert_array_equal(one.past, other.past)


def test_more_rows_than_there_is_room_for_are_refused() -> None:
    fleet = fit_fleet(_matrix(300, 1, 24), period=24, room=2)
    with pytest.raises(ValueError, match="3 rows to judge, the baseline has room for 2: fit again"):
        judge_fleet(fleet, np.zeros((3, 1)), threshold=THRESHOLD)


def test_a_series_that_never_had_a_value_is_silent() -> None:
    values = _matrix(400, 2, 24)
    values[:, 1] = np.nan
    out, stream = judge_fleet(fit_fleet(values[:-1], period=24, room=1), values[-1:], threshold=THRESHOLD)
    assert stream[0, 1] == -2 and np.isnan(out[0, 1]).all()
    assert stream[0, 0] >= 0
