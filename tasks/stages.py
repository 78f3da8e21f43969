"""Where the time of a sweep goes: seconds by stage, added up over signals and shards."""

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager


@contextmanager
def timed(spent: dict[str, float], stage: str) -> Generator[None]:
    """Add the time of the block to the stage, also where the block fails."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - begun


def add_up(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The seconds of each stage over all parts.

    >>> add_up([{"query": 1.0}, {"query": 0.5, "store": 0.25}])
    {'query': 1.5, 'store': 0.25}
    """
    total: dict[str, float] = {}
    for part in parts:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
