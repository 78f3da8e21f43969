"""Compiling the loops that numpy cannot express: one decorator, so that its lack of types stays in one place."""

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")
_numba = cast(Any, numba)
prange = cast(Callable[[int], Iterable[int]], _numba.prange)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, cached beside its module; division by zero gives inf or NaN as in numpy.

    numba looks only at a function's own file to see whether its cached code is old: `make clean` after changing a
    function that another module's compiled function calls.
    """
    decorate = _numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast(Callable[P, R], decorate(function))


def compiled_parallel(function: Callable[P, R]) -> Callable[P, R]:
    """The same, with `prange` spread over the cores."""
    decorate = _numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
    return cast(Callable[P, R], decorate(function))
