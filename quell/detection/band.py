"""What a row was expected to be, and how far from it a row may lie before the fluctuation view speaks."""

import numpy as np

from quell.detection import memory as m
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.detection.rating import LOCAL_CENTRE, local_tail, off_scale
from quell.detection.streams import FLUCTUATION_DOWN, FLUCTUATION_UP
from quell.incidents.series import FloatArray

ERROR_WEIGHT = 1.0 / 500.0


@compiled
def expected_value(memory: FloatArray) -> float:
    """The median of the same phase or of the last 30 rows, whichever was nearer lately."""
    near, phase = memory[m.NEAR], memory[m.PHASE]
    if not np.isnan(phase) and memory[m.ERROR_PHASE] < memory[m.ERROR_NEAR]:
        return phase
    return near


@compiled
def learn_errors(memory: FloatArray, value: float) -> None:
    """Learn which of the two is nearer."""
    near, phase = memory[m.NEAR], memory[m.PHASE]
    if not np.isnan(phase):
        memory[m.ERROR_PHASE] += ERROR_WEIGHT * (abs(value - phase) - memory[m.ERROR_PHASE])
        memory[m.ERROR_NEAR] += ERROR_WEIGHT * (abs(value - near) - memory[m.ERROR_NEAR])


@compiled
def margin(memory: FloatArray, stream: int, threshold: float, least: float, fewest: int) -> float:
    """The residual at which the fluctuation view alone reaches the threshold, in decades; NaN while it is silent."""
    if memory[m.TAILS_AT + t.COUNT + stream] < min(fewest, t.FEWEST):
        return np.nan
    usual, slope = local_tail(memory, stream)
    return max(np.exp(usual + slope * (off_scale(threshold) - LOCAL_CENTRE)) * memory[m.SPREAD], least)


@compiled
def put_band(memory: FloatArray, threshold: float, side: int, least: float, fewest: int, out: FloatArray) -> None:
    """Expected value, lower and upper limit into `out` (3,); a limit on a side that is no trouble is infinite."""
    expected = expected_value(memory)
    out[0] = expected
    out[1] = -np.inf if side > 0 else expected - margin(memory, FLUCTUATION_DOWN, threshold, least, fewest)
    out[2] = np.inf if side < 0 else expected + margin(memory, FLUCTUATION_UP, threshold, least, fewest)
