"""Shifts: by how much each metric left what it did before, against its own noise.

The statistic of a window is the mean of its worse half, so an onset that is known a little late changes little. It is
compared with the median of the time before. The noise is measured by half-spreads (median distance to the median on
each side, scaled to a normal distribution's deviation): robust up to half of the rows, so earlier incidents in "normal"
hide little. Where the time before is long enough, what sliding windows of the same length did there is a second bar.

Gaps are left out. A constant series gets a floor of 5 % of its level. Below three known rows before, nothing is said.
Sources: Rousseeuw and Croux, Alternatives to the median absolute deviation, JASA 1993; the comparison of a median and
spread before with the extreme after is that of Pham et al., BARO, FSE 2024.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quell.triage.rootcause.vocabulary import Kind
from quell.triage.rootcause.window import Floats

FEWEST_ROWS = 3
SMALLEST_SPREAD = 0.05  # of the level: a smaller change is nobody's incident
OFFSET = 0.02  # of the level, added before logarithms, so that zero is a value
NULL_WINDOWS = 60  # windows before needed for their quantile to mean something
NULL_QUANTILE, NULL_Z = 0.985, 3.0  # this quantile of the time before counts as a z of 3
TAIL_QUANTILE, TAIL_Z = 0.9, 1.645  # of the distance to the median; this many spreads if normally distributed
MAD = 1.4826
LINEAR = frozenset({Kind.SUCCESS, Kind.ERRORS})  # their zero is a value; the others are compared as ratios


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """Per column: `z` (signed, in spreads), `ratio` (natural logarithm of now by before, signed), `base` and `now`."""

    z: Floats
    ratio: Floats
    base: Floats
    now: Floats


def measure_shifts(before: Floats, now: Floats, kinds: Sequence[Kind]) -> Shifts:
    """`before` and `now` are rows x columns, one kind per column."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, which is what is meant
        return _measure(before, now, np.array([kind not in LINEAR for kind in kinds], bool))


def _measure(x: Floats, y: Floats, may_log: npt.NDArray[np.bool_]) -> Shifts:
    base = np.nanmedian(x, axis=0)
    level = _levels(x, y, base)
    logged = may_log & (np.nanmin(x, axis=0) >= 0) & (np.nanmin(y, axis=0) >= 0)
    u, v = _scaled(x, level, logged), _scaled(y, level, logged)
    centre = np.nanmedian(u, axis=0)
    spread = np.maximum(_spreads(u - centre), _counting_noise(x, base, logged))
    high, low = _worse_halves(v - centre)
    bar_high, bar_low = null_bars(u - centre, y.shape[0])
    z_high = np.fmin(high / spread, NULL_Z * high / np.fmax(bar_high, 1e-9))
    z_low = np.fmin(-low / spread, NULL_Z * -low / np.fmax(bar_low, 1e-9))
    is_up = z_high >= z_low
    extreme = np.where(is_up, high, low)
    after = np.where(logged, (np.exp(centre + extreme) - OFFSET) * level, (centre + extreme) * level)
    ratio = np.where(logged, extreme, np.sign(extreme) * np.log1p(np.abs(extreme)))
    z = np.where(is_up, z_high, -z_low)
    unknown = (np.isfinite(u).sum(axis=0) < FEWEST_ROWS) | ~np.isfinite(z)
    return Shifts(z=np.where(unknown, 0.0, z), ratio=np.where(unknown, 0.0, ratio), base=base, now=after)


def _levels(x: Floats, y: Floats, base: Floats) -> Floats:
    """What counts as 1 of a column: its median before, else its mean before, else its mean now, else 1."""
    level = np.abs(base)
    for other in (np.nanmean(np.abs(x), axis=0), np.nanmean(np.abs(y), axis=0)):
        level = np.where(level > 0, level, other)
    return np.where(level > 0, level, 1.0)


def _spreads(residual: Floats) -> Floats:
    """The noise before; wider for short pasts, of which less is known, and where rare jumps are part of normal."""
    up, down = _half_spreads(residual)
    body = np.maximum(np.sqrt(up * down), 0.5 * np.maximum(up, down))
    tail = np.nan_to_num(np.nanquantile(np.abs(residual), TAIL_QUANTILE, axis=0)) / TAIL_Z
    tail = np.where(body < SMALLEST_SPREAD, tail, 0.0)  # elsewhere the body tells, and the tail may be an old incident
    body = np.maximum(body, SMALLEST_SPREAD)
    known = np.isfinite(residual).sum(axis=0)
    return np.maximum(body, np.sqrt(body * tail)) * (1 + 3.0 / np.maximum(known, 1))


def _scaled(values: Floats, level: Floats, logged: Floats) -> Floats:
    relative = values / level
    return np.where(logged, np.log(np.maximum(relative, 0.0) + OFFSET), relative)


def _half_spreads(residual: Floats) -> tuple[Floats, Floats]:
    up = np.nanmedian(np.where(residual >= 0, residual, np.nan), axis=0) * MAD
    down = np.nanmedian(np.where(residual <= 0, -residual, np.nan), axis=0) * MAD
    return np.nan_to_num(up), np.nan_to_num(down)


def _counting_noise(values: Floats, base: Floats, logged: Floats) -> Floats:
    """Whole numbers are counts: they scatter by their square root even where a short past does not show it."""
    whole = np.all(~np.isfinite(values) | (values == np.round(values)), axis=0) & (base > 0) & logged
    return np.where(whole, 1 / np.sqrt(np.maximum(base, 1.0)), 0.0)


def _worse_halves(residual: Floats) -> tuple[Floats, Floats]:
    """Mean of the highest half and of the lowest half of the known rows, per column."""
    ordered = np.sort(residual, axis=0)  # NaN last
    known = np.isfinite(ordered).sum(axis=0)
    half = np.maximum((known + 1) // 2, 1)
    filled = np.where(np.isfinite(ordered), ordered, 0.0)
    sums = np.vstack([np.zeros(residual.shape[1]), np.cumsum(filled, axis=0)])
    columns = np.arange(residual.shape[1], dtype=np.intp)
    low = sums[half, columns] / half
    high = (sums[known, columns] - sums[np.maximum(known - half, 0), columns]) / half
    nothing = known == 0
    return np.where(nothing, np.nan, high), np.where(nothing, np.nan, low)


def null_bars(residual: Floats, rows: int, *, of_sums: bool = False) -> tuple[Floats, Floats]:
    """What windows of `rows` rows before rarely passed, upwards and downwards; NaN where there are too few windows."""
    count = residual.shape[0] - rows + 1
    if count < NULL_WINDOWS or rows > residual.shape[0] // 4:
        nothing = np.full(residual.shape[1], np.nan)
        return nothing, nothing
    step = max(1, count // 200)
    windows = (residual[start : start + rows] for start in range(0, count, step))
    halves = [(np.nansum(w, axis=0),) * 2 if of_sums else _worse_halves(w) for w in windows]
    high = np.nanquantile(np.stack([h for h, _ in halves]), NULL_QUANTILE, axis=0)
    low = np.nanquantile(np.stack([-low for _, low in halves]), NULL_QUANTILE, axis=0)
    return high, low
