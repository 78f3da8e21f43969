"""The forgetting tail against numpy's quantiles."""

import numpy as np
import pytest

from quell.detection import tail

pytestmark = pytest.mark.unit


def _after(values: np.ndarray) -> np.ndarray:
    fields, bins = np.zeros(tail.FIELDS), np.zeros(tail.BINS, np.float32)
    tail.clear(fields, 0)
    for value in values:
        log_value = float(np.log(value)) if value > 0 else tail.NOTHING
        tail.learn(fields, 0, bins, 0, log_value)
        tail.remember_record(fields, 0, log_value)
    return fields


def test_its_quantiles_are_those_of_a_steady_stream() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    fields = _after(values)
    assert np.exp(fields[tail.Q99]) == pytest.approx(np.quantile(values, 0.99), rel=0.1)
    assert np.exp(fields[tail.Q999]) == pytest.approx(np.quantile(values, 0.999), rel=0.25)


def test_its_record_is_the_largest_sample_and_fades() -> None:
    rng = np.random.default_rng(2)
    assert np.exp(_after(np.append(rng.random(500), 7.0))[tail.RECORD]) == pytest.approx(7.0)
    later = _after(np.concatenate([rng.random(10), [7.0], np.full(int(tail.RECORD_HALF_LIFE), 1e-3)]))
    assert np.exp(later[tail.RECORD]) == pytest.approx(3.5, rel=1e-3)


def test_the_past_is_forgotten_by_half_in_its_half_life() -> None:
    old, new = np.full(20_000, 100.0), np.full(int(7 * tail.QUANTILE_HALF_LIFE), 1.0)
    assert np.exp(_after(np.concatenate([old, new]))[tail.Q99]) < 2.0


def test_it_stays_right_when_the_weights_are_shrunk() -> None:
    """The weight of a new sample grows without end; it is divided out after 200,000 samples or so."""
    values = np.random.default_rng(3).exponential(size=230_000)
    fields = _after(values)
    assert fields[tail.WEIGHT] < tail.LARGEST_WEIGHT
    assert np.exp(fields[tail.Q99]) == pytest.approx(np.quantile(values[-20_000:], 0.99), rel=0.15)


def test_zeros_count_as_samples_below_everything() -> None:
    fields = _after(np.append(np.zeros(2000), 5.0))
    assert fields[tail.Q99] == tail.NOTHING
    assert np.exp(fields[tail.RECORD]) == pytest.approx(5.0)
