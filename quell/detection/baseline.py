"""A baseline: what is known of each series of a signal, fitted on its history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from quell.detection import memory as m
from quell.detection.calibration import threshold_for
from quell.detection.columns import BoolArray, IntArray, any_true, count_true, first_true
from quell.detection.fleet import Fleet, Limits, fit_fleet
from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal

Period = tuple[datetime, datetime]
SeriesKey = tuple[tuple[str, str], ...]

DAY = timedelta(days=1)
RETIRED_AFTER = DAY  # a series silent for this long is no longer expected
# Nobody is woken for less than this share of the usual size, whatever the spread says.
RELATIVE_FLOOR = 0.01
_SIDE = {Direction.HIGH: 1, Direction.LOW: -1, Direction.BOTH: 0}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Everything needed to judge later samples. Arrays have one entry per series.

    Slot 0 of the fleet is number `first` of the grid of multiples of the step since the epoch. `presence` is the share
    of the history's grid, since the series appeared, that has a sample, `zero_share` the share of samples that are
    exactly 0.
    """

    version: str
    signal: str
    fitted_at: datetime
    minimum_samples: int
    false_alarms_per_week: float
    step_seconds: float
    first: int
    labels: tuple[Labels, ...]
    fingerprints: FingerprintArray  # of the labels; a window's series are found by them
    samples: IntArray
    presence: FloatArray
    zero_share: FloatArray
    fleet: Fleet

    @property
    def ready(self) -> BoolArray:
        """Which series have enough samples to be judged."""
        return self.samples >= self.minimum_samples

    @property
    def seasonal(self) -> BoolArray:
        """Of which series the time of day tells more than the last 30 samples."""
        memory = self.fleet.memory
        return (memory[:, m.ERROR_PHASE] > 0.0) & (memory[:, m.ERROR_PHASE] < memory[:, m.ERROR_NEAR])

    def limits(self, signal: Signal) -> Limits:
        """What counts as trouble in this signal, within its budget of false alarms."""
        return Limits(
            decades=threshold_for(self.false_alarms_per_week, step=timedelta(seconds=self.step_seconds)),
            side=_SIDE[signal.direction],
            least=signal.min_effect,
            share=RELATIVE_FLOOR,
            fewest=self.minimum_samples,
        )


def series_key(labels: Labels) -> SeriesKey:
    return tuple(sorted(labels.items()))


def fit(
    matrix: SeriesMatrix,
    signal: Signal,
    *,
    now: datetime,
    room: int = 0,
    excluded: Sequence[Period] = (),
    minimum_samples: int = 30,
    false_alarms_per_week: float = 0.5,
) -> Baseline:
    """Fit every series of a history on its own; the excluded periods (incidents, maintenance) teach nothing.

    The history lies on the grid of the signal's step. `room` is how many samples will be judged before the next fit:
    for so many the phases of day and week are looked ahead. Samples that are NaN or infinite are left out. A series
    with fewer than `minimum_samples` is kept and judged as warming up; one silent for a day is dropped.
    """
    known = _drop_retired(matrix, now)
    values = np.where(np.isfinite(known.values), known.values, np.nan)
    values[_inside(known.timestamps, excluded)] = np.nan
    there, step = ~np.isnan(values), signal.step.total_seconds()
    samples = count_true(there)
    return Baseline(
        version=f"{signal.name}@{now:%Y%m%dT%H%M%SZ}",
        signal=signal.name,
        fitted_at=now,
        minimum_samples=minimum_samples,
        false_alarms_per_week=false_alarms_per_week,
        step_seconds=step,
        first=round(float(known.timestamps[0]) / step) if len(known.timestamps) else 0,
        labels=known.labels,
        fingerprints=known.fingerprints,
        samples=samples,
        presence=_presence(there),
        zero_share=count_true(values == 0.0) / np.maximum(samples, 1),
        fleet=fit_fleet(values, period=round(DAY / signal.step), room=room),
    )


def _inside(timestamps: FloatArray, periods: Sequence[Period]) -> BoolArray:
    """Which rows lie in one of the periods, start and end included."""
    inside = np.zeros(len(timestamps), dtype=np.bool_)
    for start, end in periods:
        inside |= (timestamps >= start.timestamp()) & (timestamps <= end.timestamp())
    return inside


def _presence(there: BoolArray) -> FloatArray:
    rows = there.shape[0] - first_true(there)
    return np.asarray(count_true(there) / np.maximum(rows, 1), dtype=np.float64)


def _drop_retired(matrix: SeriesMatrix, now: datetime) -> SeriesMatrix:
    recent = matrix.timestamps >= (now - RETIRED_AFTER).timestamp()
    keep = any_true(~np.isnan(matrix.values[recent]))
    labels = tuple(matrix.labels[column] for column in np.flatnonzero(keep))
    return replace(matrix, values=matrix.values[:, keep], labels=labels, prints=None)
