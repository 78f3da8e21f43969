"""Medians of sliding windows, kept as sorted arrays: an insertion or a swap moves a few numbers, nothing is sorted.

Every function works on the `count` entries of `ordered` from place `at` on; no NaN may enter.
"""

import numpy as np

from quell.detection.compiled import compiled
from quell.incidents.series import FloatArray


@compiled
def place_of(ordered: FloatArray, at: int, count: int, value: float) -> int:
    """The first place whose entry is not below the value."""
    low, high = at, at + count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


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
    """The median of a few unsorted values, which are sorted in place; NaN for none."""
    for i in range(at + 1, at + count):
        value, j = values[i], i - 1
        while j >= at and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return middle_of(values, at, count)


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


@compiled
def median_of_seven(values: FloatArray, at: int) -> float:
    """The median of seven values without a branch to guess: a network that sorts only as far as the middle needs.

    Source: Devillard, Fast median search (1998), opt_med7.
    """
    a, b, c, d = values[at], values[at + 1], values[at + 2], values[at + 3]
    e, f, g = values[at + 4], values[at + 5], values[at + 6]
    a, f = min(a, f), max(a, f)
    a, d = min(a, d), max(a, d)
    b, g = min(b, g), max(b, g)
    c, e = min(c, e), max(c, e)
    b = max(a, b)
    d, f = min(d, f), max(d, f)
    c, g = min(c, g), max(c, g)
    d = max(c, d)
    d = min(d, g)
    e = min(e, f)
    b, e = min(b, e), max(b, e)
    d = max(b, d)
    return min(d, e)
