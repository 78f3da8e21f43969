"""Compiling the loops that numpy cannot express: one decorator, so that its lack of types stays in one place."""

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, ParamSpec, TypeVar, cast
from zlib import crc32

import numba

P = ParamSpec("P")
R = TypeVar("R")
_numba = cast(Any, numba)
prange = cast(Callable[[int], Iterable[int]], _numba.prange)


def _digest() -> str:
    """Of the sources that say "compiled": those with such functions, and `streams`, whose arrays go into them."""
    modules = sorted(files("quell.detection").iterdir(), key=lambda module: module.name)
    sources = [module.read_bytes() for module in modules if module.name.endswith(".py")]
    return f"{crc32(b''.join(text for text in sources if b'compiled' in text)):08x}"


# numba takes cached code as fresh while the function's own file is unchanged, although code of the functions it calls
# was compiled into it. The cache is named for the function, hence for the sources of them all.
_SOURCES = _digest()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, cached beside its module; division by zero gives inf or NaN as in numpy.

    It may not make arrays: without the counting of references, which makes small functions several times as slow.
    """
    return _compile(function, parallel=False, counting=False)


def compiled_whole(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function that makes arrays; the ones that it calls in its loops should not."""
    return _compile(function, parallel=False, counting=True)


def compiled_parallel(function: Callable[P, R]) -> Callable[P, R]:
    """The same, with `prange` spread over the cores."""
    return _compile(function, parallel=True, counting=True)


def _compile(function: Callable[P, R], *, parallel: bool, counting: bool) -> Callable[P, R]:
    name = function.__qualname__
    function.__qualname__ = f"{name}-{_SOURCES}"
    # _nrt is numba's own name for its reference counting; numba/numba keeps it undocumented, and tests of ours hold it.
    decorate = _numba.njit(cache=True, nogil=True, error_model="numpy", parallel=parallel, _nrt=counting)
    machine_code = cast(Callable[P, R], decorate(function))
    function.__qualname__ = name
    return machine_code
