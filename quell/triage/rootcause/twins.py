"""Twins: two names for one component, merged before anything is counted twice.

A service that runs as a single pod is measured under both names (`Frontend` and `frontend-579b9-t2dbm`). So is a target
whose series is, value by value, that of a fuller node. Equality is asked for on normal rows with several different
values: during an incident, components that fail together look alike.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from quell.triage.rootcause.calls import Names
from quell.triage.rootcause.window import Column, Floats, Window

FEWEST_DIFFERENT = 5


def find_twins(normal: Window, target: Column | None) -> dict[str, str]:
    """From a name to the fuller node it stands for."""
    sizes = Counter(node for node, _ in normal.columns)
    names = Names.of(sizes)
    twins: dict[str, str] = {}
    for node in sizes:
        pods = names.pods(node)
        if len(pods) == 1 and not pods[0].rpartition("-")[2].isdigit():  # `db-1` beside `db` may be another one
            twins[node] = pods[0]
    if target is not None and target[0] not in twins and (twin := _same_series(normal, target, sizes)):
        twins[target[0]] = twin
    return twins


def _same_series(normal: Window, target: Column, sizes: Counter[str]) -> str | None:
    if target not in normal.columns:
        return None
    mine = normal.values[:, normal.columns.index(target)]
    if len(np.unique(mine[np.isfinite(mine)])) < FEWEST_DIFFERENT:
        return None
    for place, (node, _) in enumerate(normal.columns):
        if node != target[0] and sizes[node] > sizes[target[0]] and _equal(mine, normal.values[:, place]):
            return node
    return None


def _equal(one: Floats, other: Floats) -> bool:
    both = np.isfinite(one) & np.isfinite(other)
    return bool(both.sum() >= FEWEST_DIFFERENT and np.allclose(one[both], other[both], rtol=1e-9, atol=0))


def merge_twins(window: Window, twins: dict[str, str]) -> Window:
    """The window with twins under the fuller name; a metric that both have is kept once, as the fuller node has it."""
    if not twins:
        return window
    taken = set(window.columns)
    kept: list[int] = []
    columns: list[Column] = []
    for place, (node, metric) in enumerate(window.columns):
        column = (twins.get(node, node), metric)
        if node in twins and column in taken:
            continue
        taken.add(column)
        kept.append(place)
        columns.append(column)
    return replace(window, columns=tuple(columns), values=window.values[:, kept])
