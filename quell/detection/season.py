"""What repeats: a day or a week as a profile of medians, used only where it was seen often enough and helps."""

from dataclasses import dataclass

import numpy as np

from quell.detection.columns import BoolArray, IntArray, any_true, first_true, last_true, median, robust_spread
from quell.incidents.series import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonKind:
    """A period, how finely it is looked at, and how many whole ones a history must hold before it counts."""

    name: str
    seconds: float
    buckets: int
    whole_periods: int


DAILY = SeasonKind(name="daily", seconds=86_400.0, buckets=96, whole_periods=3)
WEEKLY = SeasonKind(name="weekly", seconds=604_800.0, buckets=168, whole_periods=2)
SEASONS = (DAILY, WEEKLY)
# A season must lower the spread of the residuals to this share, and a week must beat a day by as much again.
HELPS_BELOW = 0.8


def bucket_count(season: SeasonKind, step_seconds: float) -> int:
    """As many buckets as the season wants, as long as each gets a sample in every period."""
    return int(np.clip(season.seconds // max(step_seconds, 1.0), 1, season.buckets))


def fit_profile(timestamps: FloatArray, values: FloatArray, season: SeasonKind, buckets: int) -> FloatArray:
    """The median of each bucket of the period, shape (buckets, S); an empty bucket takes the median of all."""
    bucket = (_phase(timestamps, season) * buckets).astype(np.int64) % buckets
    order = np.argsort(bucket, kind="stable")
    bounds = np.searchsorted(bucket[order], np.arange(buckets + 1))
    profile = np.empty((buckets, values.shape[1]))
    for index in range(buckets):
        profile[index] = median(values[order[bounds[index] : bounds[index + 1]]])
    return np.where(np.isnan(profile), median(values), profile)


def expected_from(profile: FloatArray, timestamps: FloatArray, season: SeasonKind) -> FloatArray:
    """The profile at these times, straight lines between the middles of buckets, shape (T, S)."""
    buckets = profile.shape[0]
    place = _phase(timestamps, season) * buckets - 0.5
    low = np.floor(place).astype(np.int64)
    part = (place - low)[:, np.newaxis]
    return profile[low % buckets] * (1.0 - part) + profile[(low + 1) % buckets] * part


def held_out_residuals(timestamps: FloatArray, values: FloatArray, season: SeasonKind, buckets: int) -> FloatArray:
    """Each period's residuals to the profile of the other periods (even against odd): no sample explains itself."""
    odd = ((timestamps - timestamps[0]) // season.seconds).astype(np.int64) % 2 == 1
    residuals = np.empty_like(values)
    for judged in (odd, ~odd):
        profile = fit_profile(timestamps[~judged], values[~judged], season, buckets)
        residuals[judged] = values[judged] - expected_from(profile, timestamps[judged], season)
    return residuals


def whole_periods(timestamps: FloatArray, values: FloatArray, season: SeasonKind) -> IntArray:
    """How many whole periods lie between the first and the last sample of each series."""
    if len(timestamps) == 0:
        return np.zeros(int(values.shape[1]), dtype=np.int64)
    there = ~np.isnan(values)
    step = np.median(np.diff(timestamps)) if len(timestamps) > 1 else 0.0
    span = timestamps[last_true(there)] - timestamps[first_true(there)] + step
    return np.asarray(np.where(any_true(there), span // season.seconds, 0), dtype=np.int64)


def helps(seasonal: FloatArray, other: FloatArray) -> BoolArray:
    """Whether the seasonal residuals are clearly narrower than the others, per series."""
    return robust_spread(seasonal) < HELPS_BELOW * robust_spread(other)


def _phase(timestamps: FloatArray, season: SeasonKind) -> FloatArray:
    return (timestamps % season.seconds) / season.seconds
