"""Statistics of every column of a (time x series) matrix at once; missing samples are NaN and are left out."""

import numpy as np
from numpy.typing import NDArray

from quell.incidents.series import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def count_true(claims: BoolArray) -> IntArray:
    """How many rows of each column hold."""
    return np.asarray(np.count_nonzero(claims, axis=0), dtype=np.int64)


def any_true(claims: BoolArray) -> BoolArray:
    """Whether any row of each column holds."""
    return np.asarray(np.any(claims, axis=0), dtype=np.bool_)


def first_true(claims: BoolArray) -> IntArray:
    """The first row of each column that holds; 0 where none does."""
    if claims.shape[0] == 0:
        return np.zeros(int(claims.shape[1]), dtype=np.int64)
    return np.asarray(np.argmax(claims, axis=0), dtype=np.int64)


def last_true(claims: BoolArray) -> IntArray:
    """The last row of each column that holds; the last row where none does."""
    return claims.shape[0] - 1 - first_true(claims[::-1])


def sort_columns(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Each column sorted with its NaN last, and how many numbers it holds."""
    return np.sort(values, axis=0), count_true(~np.isnan(values))


def quantile_of_sorted(ordered: FloatArray, counts: IntArray, share: float | FloatArray) -> FloatArray:
    """The quantile (linear, numpy's default) of each sorted column; `share` may differ by column. NaN for no samples.

    >>> quantile_of_sorted(*sort_columns(np.array([[1.0, 5.0], [3.0, np.nan], [2.0, 7.0]])), 0.5)
    array([2., 6.])
    """
    if ordered.shape[0] == 0:
        return np.full(int(ordered.shape[1]), np.nan)
    place = np.clip(share * (counts - 1), 0.0, None)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(counts - 1, 0))
    column = np.arange(ordered.shape[1], dtype=np.int64)
    below, above = ordered[low, column], ordered[high, column]
    return np.asarray(np.where(counts > 0, below + (above - below) * (place - low), np.nan), dtype=np.float64)


def median(values: FloatArray) -> FloatArray:
    """The median of each column, NaN for a column without samples."""
    return quantile_of_sorted(*sort_columns(values), 0.5)


def robust_spread(values: FloatArray) -> FloatArray:
    """A standard deviation that outliers do not move, per column.

    The larger of 1.4826 MAD and the 10-90 % range over 2.563: the first is zero for a series that mostly stands still,
    the second then still sees its movement. Both are consistent for the normal distribution. Up to a tenth of outliers
    on either side does not matter. A constant column has 0, a column without samples NaN.
    """
    ordered, counts = sort_columns(values)
    middle = quantile_of_sorted(ordered, counts, 0.5)
    deviation = 1.4826 * median(np.abs(values - middle))
    width = quantile_of_sorted(ordered, counts, 0.9) - quantile_of_sorted(ordered, counts, 0.1)
    return np.asarray(np.fmax(deviation, width / 2.5631), dtype=np.float64)
