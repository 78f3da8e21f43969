"""One row of one series: its departures from everything expected, their rarity, and the band that goes with it."""

import numpy as np

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection.compiled import compiled
from quell.detection.memory import Memory
from quell.detection.phase import (
    DAYS,
    SHAPE_DAYS,
    Past,
    nearest_mean,
    nearest_of_week,
    same_phase,
    smoothed_phase,
)
from quell.incidents.series import FloatArray


@compiled
def smaller(a: float, b: float) -> float:
    """Whichever is smaller in size, with its sign; the other one where one is NaN."""
    if np.isnan(a) or abs(b) < abs(a):
        return b
    return a


@compiled
def put_sides(departures: FloatArray, up: int, down: int, value: float) -> None:
    departures[up] = np.nan if np.isnan(value) else max(value, 0.0)
    departures[down] = np.nan if np.isnan(value) else max(-value, 0.0)


@compiled
def take_row(memory: Memory, past: Past, row: int, has_phase: bool, has_shape: bool, value: float) -> None:
    """Fill the departures of this row, then take it into the windows and the past (not yet into the tails)."""
    rows = int(memory.scalars[m.ROWS])
    departures, scratch = memory.departures, memory.scratch
    ring = memory.ring
    long_median, near = memory.scalars[m.LONG], m.median_near(memory)
    lagged = m.middle_of(memory.lagged, min(max(rows - 2, 0), m.LAG_LONG))
    step = value - m.middle_of(memory.short, min(rows, m.LAG_SHORT))
    jump = value - 0.5 * (ring[(rows - 1) % m.RING] + ring[(rows - 2) % m.RING]) if rows >= 2 else np.nan
    memory.scalars[m.NEAR] = near if rows else value
    memory.scalars[m.SPREAD] = m.spread_of(memory, 0, rows, near)
    memory.scalars[m.PHASE] = np.nan
    m.push(memory, value)
    mean_12 = m.recent_mean(memory, rows + 1, 12)
    far, fluctuation = value - long_median, value - near
    phase, phase_level, shape = np.nan, np.nan, np.nan
    departures[s.NEAREST] = np.nan
    if has_phase:
        phase = value - same_phase(past, row, scratch)
        memory.scalars[m.PHASE] = value - phase
        phase = smaller(phase, nearest_of_week(past, row, value))
        phase_level = mean_12 - smoothed_phase(past, past.means, DAYS, row, scratch)
        departures[s.NEAREST] = abs(nearest_mean(past, row, mean_12))
    if has_shape:
        shape = fluctuation - smoothed_phase(past, past.residuals, SHAPE_DAYS, row, scratch)
    put_sides(departures, s.POINT_UP, s.POINT_DOWN, smaller(far, fluctuation))
    departures[s.SAME] = abs(smaller(far, phase))
    put_sides(departures, s.JUMP_UP, s.JUMP_DOWN, smaller(jump, phase))
    departures[s.PHASE_LEVEL] = abs(phase_level)
    departures[s.LEVEL] = abs(m.recent_mean(memory, rows + 1, 24) - long_median)
    put_sides(departures, s.FLUCTUATION_UP, s.FLUCTUATION_DOWN, m.over_spread(memory, 0, rows, fluctuation, near))
    departures[s.STEP] = abs(m.over_spread(memory, 1, rows, step, near))
    departures[s.SHORT_LEVEL] = abs(m.over_spread(memory, 2, rows, m.recent_mean(memory, rows + 1, 3) - lagged, near))
    put_sides(departures, s.SHAPE_UP, s.SHAPE_DOWN, m.over_spread(memory, 3, rows, shape, near))
    past.values[row + past.shift[0]] = value
    past.means[row + past.shift[0]] = mean_12
    past.residuals[row + past.shift[0]] = fluctuation
