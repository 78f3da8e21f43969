"""What a row was expected to be, and how far from it a row may lie before the local views speak."""

import numpy as np

from quell.detection import memory as m
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.detection.rating import CENTRE, LOCAL_KNEE, LOCAL_PRIOR, LOCAL_ROOM, LOCAL_SHIFT, SLOPE
from quell.detection.streams import FLUCTUATION_DOWN, FLUCTUATION_UP
from quell.incidents.series import FloatArray

ERROR_WEIGHT = 1.0 / 500.0


@compiled
def expected_value(memory: FloatArray, value: float) -> float:
    """The median of the same phase or of the last 30 rows, whichever was nearer lately; then learn which one is."""
    near, phase = memory[m.NEAR], memory[m.PHASE]
    expected = near
    if not np.isnan(phase):
        if memory[m.ERROR_PHASE] < memory[m.ERROR_NEAR]:
            expected = phase
        memory[m.ERROR_PHASE] += ERROR_WEIGHT * (abs(value - phase) - memory[m.ERROR_PHASE])
        memory[m.ERROR_NEAR] += ERROR_WEIGHT * (abs(value - near) - memory[m.ERROR_NEAR])
    return expected


@compiled
def margin(memory: FloatArray, stream: int, threshold: float) -> float:
    """The residual at which the fluctuation view alone reaches the threshold, in decades; NaN while it is silent."""
    at = m.TAILS_AT + stream * t.FIELDS
    if memory[at + t.COUNT] < t.FEWEST:
        return np.nan
    beyond = threshold - LOCAL_KNEE
    if beyond > 0.0:  # undo the saturation
        beyond = LOCAL_ROOM * (LOCAL_ROOM / max(LOCAL_ROOM - beyond, 1e-3) - 1.0)
    decades = LOCAL_KNEE + beyond + LOCAL_SHIFT - CENTRE
    usual = 0.35 * max(memory[at + t.Q99], 0.0) + 0.35 * max(memory[at + t.Q999], 0.0) + LOCAL_PRIOR
    return np.exp(usual + SLOPE * decades) * memory[m.SPREAD]


@compiled
def margins(memory: FloatArray, threshold: float) -> tuple[float, float]:
    """How far below and above the expected value."""
    return margin(memory, FLUCTUATION_DOWN, threshold), margin(memory, FLUCTUATION_UP, threshold)
