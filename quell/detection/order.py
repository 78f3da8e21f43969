"""Medians of sliding windows, kept as sorted arrays: an insertion or a swap moves a few numbers, nothing is sorted.

Every function works on the `count` entries of `ordered` from place `at` on; no NaN may enter.
"""

import numpy as np

from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray

COUNTED = 32  # so many entries are compared one and all sooner than halved
SORTED = 8  # up to so many values an insertion sort is the fastest


@compiled
def place_of(ordered: FloatArray, at: int, count: int, value: float) -> int:
    """The first place whose entry is not below the value."""
    low, high = at, at + count
    while high - low > COUNTED:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    below = 0
    for i in range(low, high):  # without a branch to guess; the compiler takes several entries at once
        below += ordered[i] < value
    return low + below


@compiled
def insert(ordered: FloatArray, at: int, count: int, value: float) -> int:
    """Put the value in its place; the new count."""
    place = place_of(ordered, at, count, value)
    for i in range(at + count, place, -1):
        ordered[i] = ordered[i - 1]
    ordered[place] = value
    return count + 1


@compiled
def swap(ordered: FloatArray, at: int, count: int, old: float, new: float) -> None:
    """Put a new value in the place of an old one, which must be there; only what lies between the two moves."""
    place = place_of(ordered, at, count, old)
    while place > at and ordered[place - 1] > new:
        ordered[place] = ordered[place - 1]
        place -= 1
    while place < at + count - 1 and ordered[place + 1] < new:
        ordered[place] = ordered[place + 1]
        place += 1
    ordered[place] = new


@compiled
def middle_of(ordered: FloatArray, at: int, count: int) -> float:
    """The median; NaN for no entries."""
    if count == 0:
        return np.nan
    if count % 2:
        return ordered[at + count // 2]
    return 0.5 * (ordered[at + count // 2 - 1] + ordered[at + count // 2])


@compiled
def median_of(values: FloatArray, at: int, count: int) -> float:
    """The median of a few unsorted values, whose order may change; NaN for none."""
    if count > SORTED:
        low = of_rank(values, at, count, (count - 1) // 2)
        return low if count % 2 else 0.5 * (low + of_rank(values, at, count, count // 2))
    for i in range(at + 1, at + count):
        value, j = values[i], i - 1
        while j >= at and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return middle_of(values, at, count)


@compiled
def of_rank(values: FloatArray, at: int, count: int, rank: int) -> float:
    """The value with so many smaller ones, found by counting for each in turn."""
    for i in range(at, at + count):
        value, below, equal = values[i], 0, 0
        for j in range(at, at + count):
            below += values[j] < value
            equal += values[j] == value
        if below <= rank < below + equal:
            return value
    return np.nan


@compiled
def median_of_three(a: float, b: float, c: float) -> float:
    """The middle one; where some are NaN, the median of the others."""
    if np.isnan(a) or np.isnan(b) or np.isnan(c):
        return mean_of_known(a, b, c)
    return max(min(a, b), min(max(a, b), c))


@compiled
def mean_of_known(a: float, b: float, c: float) -> float:
    """The mean of those that are no NaN: of one or two values it is also their median."""
    total, count = 0.0, 0
    for value in (a, b, c):
        if not np.isnan(value):
            total += value
            count += 1
    return total / count if count else np.nan
