"""One row of one series: its departures from everything expected, and what is learned of it afterwards."""

import numpy as np

from quell.detection import memory as m
from quell.detection import streams as s
from quell.detection.compiled import compiled
from quell.detection.order import middle_of
from quell.detection.phase import LEVEL_AT, SHAPE_AT, VALUE_AT
from quell.incidents.series import FloatArray

MEAN_ROWS = 12
LEVEL_ROWS = 24


@compiled
def smaller(a: float, b: float) -> float:
    """Whichever is smaller in size, with its sign; the other one where one is NaN."""
    if np.isnan(a) or abs(b) < abs(a):
        return b
    return a


@compiled
def put_sides(memory: FloatArray, up: int, departure: float, effect: float) -> None:
    """A departure with its sign, as two streams; the effect is the same in the unit of the series."""
    none = np.isnan(departure)
    memory[m.DEPARTURES_AT + up] = np.nan if none else max(departure, 0.0)
    memory[m.DEPARTURES_AT + up + 1] = np.nan if none else max(-departure, 0.0)
    memory[m.EFFECTS_AT + up] = memory[m.EFFECTS_AT + up + 1] = effect


@compiled
def put_size(memory: FloatArray, stream: int, departure: float) -> None:
    memory[m.DEPARTURES_AT + stream] = abs(departure)
    memory[m.EFFECTS_AT + stream] = departure


@compiled
def over_spread(memory: FloatArray, which: int, residual: float, fewest: int) -> float:
    """The residual over its spread; 0 while there are too few rows to tell one."""
    if np.isnan(residual) or memory[m.ROWS] < min(m.SPREAD_ROWS, fewest):
        return 0.0
    return residual / m.spread_of(memory, which, memory[m.NEAR])


@compiled
def expect(memory: FloatArray, value: float, phase: float) -> None:
    """Fill what the next row is expected to be: the median of the last 30 rows (the value itself before any), and what
    the phase says."""
    rows = int(memory[m.ROWS])
    near = middle_of(memory, m.NEAR_AT, min(rows, m.LAG_LONG)) if rows else value
    memory[m.NEAR], memory[m.SPREAD], memory[m.PHASE] = near, m.spread_of(memory, m.FLUCTUATION, near), phase


@compiled
def depart(memory: FloatArray, value: float, week: float, nearest: float, fewest: int) -> None:
    """Fill the departures of a row, whose expectations are in memory (`look_ahead`).

    `week` is the residual to last week's nearest value, `nearest` that of the mean of
    twelve rows to the nearest one of seven days; NaN for none.
    """
    expect(memory, value, memory[m.EXPECTED_AT + VALUE_AT])
    seen, far, residual = int(memory[m.SEEN]), value - memory[m.LONG_MEDIAN], value - memory[m.NEAR]
    point = smaller(far, residual)
    put_sides(memory, s.POINT_UP, point, point)
    jump = np.nan
    if seen >= 2:
        jump = value - 0.5 * (m.row_before(memory, 1) + m.row_before(memory, 2))
    jump = smaller(jump, smaller(value - memory[m.EXPECTED_AT + VALUE_AT], week))
    put_sides(memory, s.JUMP_UP, jump, jump)
    put_size(memory, s.NEAREST, nearest)
    put_size(memory, s.PHASE_LEVEL, m.mean_with(memory, value, MEAN_ROWS) - memory[m.EXPECTED_AT + LEVEL_AT])
    put_size(memory, s.LEVEL, m.mean_with(memory, value, LEVEL_ROWS) - memory[m.LONG_MEDIAN])
    shape = residual - memory[m.EXPECTED_AT + SHAPE_AT]
    put_sides(memory, s.SHAPE_UP, over_spread(memory, m.SHAPE, shape, fewest), shape)
    put_sides(memory, s.FLUCTUATION_UP, over_spread(memory, m.FLUCTUATION, residual, fewest), residual)
    step = m.mean_with(memory, value, 2) - memory[m.LAG_1]
    put_sides(memory, s.STEP_UP, over_spread(memory, m.STEP, step, fewest), step)


@compiled
def learn_row(memory: FloatArray, value: float) -> None:
    """Take a row whose departures are filled into the spreads and windows."""
    m.learn_residual(memory, m.FLUCTUATION, memory[m.EFFECTS_AT + s.FLUCTUATION_UP])
    m.learn_residual(memory, m.STEP, memory[m.EFFECTS_AT + s.STEP_UP])
    m.learn_residual(memory, m.SHAPE, memory[m.EFFECTS_AT + s.SHAPE_UP])
    m.learn_value(memory, value)
