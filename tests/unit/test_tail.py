"""The forgetting tail against numpy's quantiles."""

import numpy as np
import pytest

from quell.detection import tail

pytestmark = pytest.mark.unit


STREAM = 3  # any of them


def _after(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fields, bins = np.zeros(tail.SIZE), np.zeros(tail.HISTOGRAMS)
    tail.clear(fields, 0, bins)
    for value in values:
        tail.learn(fields, 0, bins, STREAM, float(value), 1.0)
        tail.next_row(bins)
    return fields, bins


def _quantile(values: np.ndarray, field: int) -> float:
    return float(np.exp(_after(values)[0][field + STREAM]))


def _record(values: np.ndarray) -> float:
    return float(np.exp(tail.record(_after(values)[0], 0, STREAM)))


def test_its_quantiles_are_those_of_a_steady_stream() -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    assert _quantile(values, tail.Q99) == pytest.approx(np.quantile(values, 0.99), rel=0.1)
    assert _quantile(values, tail.Q999) == pytest.approx(np.quantile(values, 0.999), rel=0.25)


def test_its_record_is_the_largest_sample_and_fades() -> None:
    rng = np.random.default_rng(2)
    assert _record(np.append(rng.random(90), 7.0)) == pytest.approx(7.0)
    later = np.concatenate([rng.random(10), [7.0], np.full(int(tail.RECORD_HALF_LIFE), 1e-3)])
    assert _record(later) == pytest.approx(3.5, rel=1e-3)


def test_what_has_just_begun_does_not_raise_the_record_at_once_but_what_lasts_does() -> None:
    """A fit in the first minutes of an incident must not make it the measure of the hours after."""
    calm, incident = np.random.default_rng(5).random(2000), np.full(20, 1000.0)
    assert _record(np.concatenate([calm, incident])) == pytest.approx(np.exp(tail.ONE_EVENT), rel=0.02)
    later = np.append(np.full(int(tail.PENDING_ROWS) + 1, 1.0), 900.0)  # the next large one finds it accepted
    assert _record(np.concatenate([calm, incident, later])) == pytest.approx(1000.0, rel=0.02)


def test_the_past_is_forgotten_by_half_in_its_half_life() -> None:
    old, new = np.full(20_000, 100.0), np.full(int(7 * tail.QUANTILE_HALF_LIFE), 1.0)
    assert _quantile(np.concatenate([old, new]), tail.Q99) < 2.0


def test_it_follows_a_stream_that_shrinks_far_below_what_it_told_apart() -> None:
    """What lies far below the quantiles is only counted; when all of it does, the cut must come down."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.exponential(size=5000) * 1e4, rng.exponential(size=60_000)])
    assert _quantile(values, tail.Q99) == pytest.approx(np.quantile(values[-30_000:], 0.99), rel=0.15)


def test_it_stays_right_when_the_weights_are_shrunk() -> None:
    """The weight of a new sample grows without end; it is divided out after 200,000 samples or so."""
    values = np.random.default_rng(3).exponential(size=230_000)
    fields, bins = _after(values)
    assert bins[tail.WEIGHT] < tail.LARGEST_WEIGHT
    assert np.exp(fields[tail.Q99 + STREAM]) == pytest.approx(np.quantile(values[-20_000:], 0.99), rel=0.15)


def test_zeros_count_as_samples_below_everything() -> None:
    values = np.append(np.zeros(2000), 5.0)
    fields, _ = _after(values)
    assert fields[tail.Q99 + STREAM] == tail.NOTHING
    assert (fields[tail.COUNT + STREAM], fields[tail.POSITIVE + STREAM]) == (2001, 1)
    assert _record(values) == pytest.approx(5.0)
