"""Medians of sliding windows, kept as sorted arrays: an insertion or a removal moves a few numbers, nothing is sorted.

Every function works on the first `count` entries of `ordered`; no NaN may enter.
"""

import numpy as np

from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray


@compiled
def place_of(ordered: FloatArray, count: int, value: float) -> int:
    """The first place whose entry is not below the value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def insert(ordered: FloatArray, count: int, value: float) -> int:
    """Put the value in its place; the new count."""
    place = place_of(ordered, count, value)
    for i in range(count, place, -1):
        ordered[i] = ordered[i - 1]
    ordered[place] = value
    return count + 1


@compiled
def remove(ordered: FloatArray, count: int, value: float) -> int:
    """Take out one entry equal to the value, which must be there; the new count."""
    for i in range(place_of(ordered, count, value), count - 1):
        ordered[i] = ordered[i + 1]
    return count - 1


@compiled
def middle_of(ordered: FloatArray, count: int) -> float:
    """The median; NaN for no entries."""
    if count == 0:
        return np.nan
    if count % 2:
        return ordered[count // 2]
    return 0.5 * (ordered[count // 2 - 1] + ordered[count // 2])


@compiled
def median_of(values: FloatArray, count: int) -> float:
    """The median of a few unsorted values, which are sorted in place; NaN for none."""
    for i in range(1, count):
        value, j = values[i], i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return middle_of(values, count)


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
