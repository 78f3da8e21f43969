"""Windows: the same metrics before the incident and during it, as two aligned matrices."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from quell.triage.rootcause.past import leave_out_episodes
from quell.triage.rootcause.vocabulary import Kind, Meaning, read_metric

Floats = npt.NDArray[np.float64]
Column = tuple[str, str]  # node, metric

NORMAL_BLOCKS, ABNORMAL_BLOCKS = 40, 12  # what thinning leaves at least, where there is that much


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`values` is rows x columns, NaN where nothing was measured; `columns` are (node, metric), without repetition."""

    columns: tuple[Column, ...]
    values: Floats


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What ranking works on: columns known in both windows, long windows shortened to blocks of `block` rows."""

    columns: tuple[Column, ...]
    normal: Floats
    abnormal: Floats
    block: int

    @cached_property
    def meanings(self) -> tuple[Meaning, ...]:
        return tuple(read_metric(metric) for _, metric in self.columns)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for node, _ in self.columns))

    @cached_property
    def columns_of(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {node: [] for node in self.nodes}
        for place, (node, _) in enumerate(self.columns):
            found[node].append(place)
        return found


def observe(normal: Window, abnormal: Window) -> Observation:
    """Align both windows, turn totals into increments, leave old episodes out, thin many rows into block means.

    A count of failures that exists only during the incident starts from zero: exporters create such a series when the
    first failure happens. Any other column without a before is left out, because nothing can be said about its change.
    """
    before, now = _aligned(normal, abnormal)
    columns = tuple(abnormal.columns[place] for place in now[0])
    x, y = _increments(columns, before, now[1])
    x = leave_out_episodes(x, y.shape[0])
    block = max(1, min(x.shape[0] // NORMAL_BLOCKS, y.shape[0] // ABNORMAL_BLOCKS))
    return Observation(columns=columns, normal=_thin(x, block), abnormal=_thin(y, block), block=block)


def _aligned(normal: Window, abnormal: Window) -> tuple[Floats, tuple[list[int], Floats]]:
    known = {column: place for place, column in enumerate(normal.columns)}
    kept: list[int] = []
    before: list[Floats] = []
    nothing: Floats = np.zeros_like(normal.values, shape=normal.values.shape[0])
    for place, column in enumerate(abnormal.columns):
        if not np.isfinite(abnormal.values[:, place]).any():
            continue
        if column in known and np.isfinite(normal.values[:, known[column]]).any():
            before.append(normal.values[:, known[column]])
        elif read_metric(column[1]).kind is Kind.ERRORS:
            before.append(nothing)
        else:
            continue
        kept.append(place)
    stacked = np.column_stack(before) if before else np.empty((normal.values.shape[0], 0))
    return stacked, (kept, abnormal.values[:, kept])


def _increments(columns: tuple[Column, ...], before: Floats, now: Floats) -> tuple[Floats, Floats]:
    """A running total becomes its steps; a step back is a restart and counts as missing."""
    x, y = before.copy(), now.copy()
    for place, (_, metric) in enumerate(columns):
        if not read_metric(metric).is_running_total or not _only_grows(x[:, place], y[:, place]):
            continue
        for values in (x, y):
            steps = np.diff(values[:, place], prepend=np.nan)
            values[:, place] = np.where(steps < 0, np.nan, steps)
    return x, y


def _only_grows(before: Floats, now: Floats) -> bool:
    for values in (before, now):
        steps = np.diff(values[np.isfinite(values)])
        if steps.size < 2 or (steps < 0).sum() > max(1.0, 0.02 * steps.size) or not (steps > 0).any():
            return False
    return bool(np.nanmin(before) > 0 and (np.diff(before[np.isfinite(before)]) > 0).mean() > 0.5)


def _thin(values: Floats, block: int) -> Floats:
    """Means of blocks of rows, the newest rows first kept; a block without any value is NaN."""
    if block == 1 or not values.size:
        return values
    rows = values.shape[0] // block * block
    blocks = values[values.shape[0] - rows :].reshape(-1, block, values.shape[1])
    known = np.isfinite(blocks)
    count = known.sum(axis=1)
    total = np.where(known, blocks, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
