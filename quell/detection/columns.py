"""Statistics of every column of a (time x series) matrix at once; missing samples are NaN and are left out."""

import numpy as np
from numpy.typing import NDArray

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
