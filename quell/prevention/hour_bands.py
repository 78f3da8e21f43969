"""Hour bands: which hours of the week are alike in a history, in as few ranges as a person can review."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from quell.incidents.hours import HOURS, HourBand, hours_of_week
from quell.incidents.series import FloatArray

MOST_RANGES = 3  # of hours, in each group of days
SHORTEST_RANGE = 2  # hours
_LONGEST_REST = 3  # days: the week is split into one run of days and the others
_TAIL = 0.95  # an hour is known by the level that its samples rarely pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Ranges of hours of one group of days, and how far its hours are from their ranges' means (sum of squares)."""

    cost: float
    ranges: tuple[tuple[int, int], ...]


def find_bands(timestamps: FloatArray, values: FloatArray) -> tuple[HourBand, ...]:
    """The hours of the week in bands of like levels, without limits (0). Empty where an hour of the week was not seen.

    Each hour of the week is known by the 95 % quantile of its samples, all series (T, S) together, NaN left out. The
    week's days are one group, or a run of up to three days and the others; each group's day is cut into up to three
    ranges of two hours or more. Of all these ways the one with the least Bayesian information criterion is taken
    (Schwarz, Annals of Statistics 6, 1978): more bands have to explain what they cost.
    """
    levels = _levels(timestamps, values)
    if not np.isfinite(levels).all():
        return ()
    by_day = levels.reshape(7, 24)
    cheapest = math.inf
    found: tuple[tuple[tuple[int, ...], _Split], ...] = ()
    for groups in _day_groups():
        for chosen in product(*(_splits(by_day[list(days)].T) for days in groups)):
            cost = _criterion(sum(one.cost for one in chosen), sum(len(one.ranges) for one in chosen), len(groups))
            if cost < cheapest - 1e-9:
                cheapest, found = cost, tuple(zip(groups, chosen, strict=True))
    return tuple(_band(days, start, end) for days, split in found for start, end in split.ranges)


def band_of_hour(bands: Sequence[HourBand]) -> NDArray[np.int64]:
    """Which band each hour of the week is in, shape (168,)."""
    places = np.zeros(HOURS, dtype=np.int64)
    for number, band in enumerate(bands):
        places[list(band.hours)] = number
    return places


def _band(days: tuple[int, ...], start: int, end: int) -> HourBand:
    return HourBand(days=days, start=start % 24, end=end if end <= 24 else end - 24, limit=0.0)


def _levels(timestamps: FloatArray, values: FloatArray) -> FloatArray:
    order = np.argsort(hours_of_week(timestamps), kind="stable")
    edges = hours_of_week(timestamps)[order].searchsorted(np.arange(HOURS + 1))
    ordered = values[order]
    levels = np.full(HOURS, np.nan)
    for hour in range(HOURS):
        samples = ordered[edges[hour] : edges[hour + 1]]
        known = samples[np.isfinite(samples)]
        if known.size:
            levels[hour] = np.quantile(known, _TAIL)
    return levels


def _day_groups() -> Iterator[tuple[tuple[int, ...], ...]]:
    yield (tuple(range(7)),)
    for length in range(1, _LONGEST_REST + 1):
        for first in range(7):
            rest = tuple((first + day) % 7 for day in range(length))
            yield tuple(day for day in range(7) if day not in rest), rest


def _criterion(cost: float, ranges: int, groups: int) -> float:
    spread = max(cost / HOURS, np.finfo(np.float64).tiny)
    numbers = 2 * ranges + groups - 1  # a level and an edge each, and where the week is split
    return HOURS * math.log(spread) + numbers * math.log(HOURS)


def _splits(levels: FloatArray) -> list[_Split]:
    """The best cut of a day (24, days) into one range, two and three, over midnight where that is better."""
    cost = _range_costs(levels)
    inner, over = cost[:24, :24], cost[:24, 24:48].T  # from a to b; from b on over midnight to a
    found = [_Split(cost=float(cost[0, 24]), ranges=((0, 24),))]
    two = inner + over
    first, second = np.unravel_index(int(np.argmin(two)), two.shape)
    found.append(_cut(float(two[first, second]), int(first), int(second)))
    three = inner[:, :, np.newaxis] + inner[np.newaxis, :, :] + over[:, np.newaxis, :]
    first, second, third = np.unravel_index(int(np.argmin(three)), three.shape)
    found.append(_cut(float(three[first, second, third]), int(first), int(second), int(third)))
    return found


def _cut(cost: float, *edges: int) -> _Split:
    return _Split(cost=cost, ranges=tuple(zip(edges, (*edges[1:], edges[0] + 24), strict=True)))


def _range_costs(levels: FloatArray) -> FloatArray:
    """Sum of squares about the mean from each hour up to each later one, over two days (49, 49); inf if too short."""
    twice = np.vstack([levels, levels]) - levels.mean()
    sums = np.append(0.0, np.cumsum(twice.sum(axis=1)))
    squares = np.append(0.0, np.cumsum((twice * twice).sum(axis=1)))
    length = np.arange(49)[np.newaxis, :] - np.arange(49)[:, np.newaxis]
    size = np.where(length >= SHORTEST_RANGE, length * levels.shape[1], np.nan)
    cost = squares[np.newaxis, :] - squares[:, np.newaxis] - (sums[np.newaxis, :] - sums[:, np.newaxis]) ** 2 / size
    return np.where(np.isfinite(cost), np.maximum(cost, 0.0), np.inf)
