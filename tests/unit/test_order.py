"""Sliding medians against numpy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.detection.order import insert, median_of, median_of_three, middle_of, swap

pytestmark = pytest.mark.unit

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@settings(deadline=None)  # the first call compiles
@given(st.lists(numbers, min_size=9, max_size=90), st.integers(1, 45))
def test_a_sliding_median_equals_the_median_of_its_window(values: list[float], width: int) -> None:
    ordered = np.zeros(width + 3)
    for i, value in enumerate(values):
        if i < width:
            insert(ordered, 2, i, value)
        else:
            swap(ordered, 2, width, values[i - width], value)
        window = values[max(i + 1 - width, 0) : i + 1]
        assert middle_of(ordered, 2, len(window)) == pytest.approx(np.median(window))


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=25))
def test_a_median_of_a_few_equals_numpys(values: list[float]) -> None:
    assert median_of(np.array(values), 0, len(values)) == pytest.approx(np.median(values))


def test_a_median_of_three_leaves_missing_ones_out() -> None:
    assert median_of_three(3.0, 1.0, 2.0) == 2.0
    assert median_of_three(np.nan, 1.0, 2.0) == 1.5
    assert median_of_three(np.nan, np.nan, 2.0) == 2.0
    assert np.isnan(median_of_three(np.nan, np.nan, np.nan))
