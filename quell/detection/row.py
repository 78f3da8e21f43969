"""One row of one series: its departures from everything expected, their rarity, and the band that goes with it."""

import numpy as np

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection.compiled import compiled
from quell.detection.order import middle_of
from quell.detection.phase import (
    DAYS,
    SHAPE_DAYS,
    Past,
    nearest_mean,
    nearest_of_week,
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
def put_sides(memory: FloatArray, up: int, down: int, value: float) -> None:
    memory[m.DEPARTURES_AT + up] = np.nan if np.isnan(value) else max(value, 0.0)
    memory[m.DEPARTURES_AT + down] = np.nan if np.isnan(value) else max(-value, 0.0)


@compiled
def put_size(memory: FloatArray, stream: int, value: float) -> None:
    memory[m.DEPARTURES_AT + stream] = abs(value)


@compiled
def take_row(memory: FloatArray, past: Past, row: int, has_phase: bool, has_shape: bool, value: float) -> None:
    """Fill the departures of this row, then take it into the windows and the past (not yet into the tails)."""
    rows = int(memory[m.ROWS])
    far, near = value - memory[m.LONG], middle_of(memory, m.NEAR_AT, min(rows, m.LAG_LONG))
    lagged = memory[m.NEAR_2] if rows > 2 else np.nan  # the median of the 30 rows that end with the third last
    step = value - middle_of(memory, m.SHORT_AT, min(rows, m.LAG_SHORT))
    jump = value - 0.5 * (memory[m.RING_AT + ((rows - 1) & m.MASK)] + memory[m.RING_AT + ((rows - 2) & m.MASK)])
    memory[m.NEAR_2], memory[m.NEAR_1] = memory[m.NEAR_1], near
    memory[m.NEAR], memory[m.SPREAD] = near if rows else value, m.spread_of(memory, 0, rows, near)
    m.push(memory, value)
    level = m.recent_mean(memory, rows + 1, 24) - value + far
    short_level = m.recent_mean(memory, rows + 1, 3) - lagged
    put_sides(memory, s.POINT_UP, s.POINT_DOWN, smaller(far, value - near))
    put_size(memory, s.LEVEL, level)
    put_sides(memory, s.FLUCTUATION_UP, s.FLUCTUATION_DOWN, m.over_spread(memory, 0, rows, value - near, near))
    put_size(memory, s.STEP, m.over_spread(memory, 1, rows, step, near))
    put_size(memory, s.SHORT_LEVEL, m.over_spread(memory, 2, rows, short_level, near))
    phase = take_phase(memory, past, row, has_phase, value)
    put_size(memory, s.SAME, smaller(far, phase))
    put_sides(memory, s.JUMP_UP, s.JUMP_DOWN, smaller(jump if rows >= 2 else np.nan, phase))
    shape = np.nan
    if has_shape:
        shape = value - near - smoothed_phase(past, past.residuals, SHAPE_DAYS, row, memory, m.SCRATCH_AT)
    put_sides(memory, s.SHAPE_UP, s.SHAPE_DOWN, m.over_spread(memory, 3, rows, shape, near))
    here = row + past.shift[0]
    past.values[here], past.residuals[here] = value, value - near


@compiled
def take_phase(memory: FloatArray, past: Past, row: int, has_phase: bool, value: float) -> float:
    """Fill the departures of the smoothed values; the value's own residual to its phase, NaN for none."""
    mean = m.recent_mean(memory, int(memory[m.ROWS]), 12)
    past.means[row + past.shift[0]] = mean
    memory[m.PHASE] = np.nan
    if not has_phase:
        put_size(memory, s.NEAREST, np.nan)
        put_size(memory, s.PHASE_LEVEL, np.nan)
        return np.nan
    memory[m.PHASE] = smoothed_phase(past, past.values, DAYS, row, memory, m.SCRATCH_AT)
    put_size(memory, s.NEAREST, nearest_mean(past, row, mean))
    put_size(memory, s.PHASE_LEVEL, mean - smoothed_phase(past, past.means, DAYS, row, memory, m.SCRATCH_AT))
    return smaller(value - memory[m.PHASE], nearest_of_week(past, row, value))
