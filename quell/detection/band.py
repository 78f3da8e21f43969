"""What a row was expected to be, and how far from it a row may lie before the local views speak."""

import numpy as np

from quell.detection import memory as m
from quell.detection import tail as t
from quell.detection.compiled import compiled
from quell.detection.memory import Memory
from quell.detection.rating import CENTRE, LOCAL_KNEE, LOCAL_PRIOR, LOCAL_ROOM, LOCAL_SHIFT, SLOPE
from quell.detection.streams import FLUCTUATION_DOWN, FLUCTUATION_UP

ERROR_WEIGHT = 1.0 / 500.0


@compiled
def expected_value(memory: Memory, value: float) -> float:
    """The median of the same phase or of the last 30 rows, whichever was nearer lately; then learn which one is."""
    scalars = memory.scalars
    near, phase = scalars[m.NEAR], scalars[m.PHASE]
    expected = near
    if not np.isnan(phase):
        if scalars[m.ERROR_PHASE] < scalars[m.ERROR_NEAR]:
            expected = phase
        scalars[m.ERROR_PHASE] += ERROR_WEIGHT * (abs(value - phase) - scalars[m.ERROR_PHASE])
        scalars[m.ERROR_NEAR] += ERROR_WEIGHT * (abs(value - near) - scalars[m.ERROR_NEAR])
    return expected


@compiled
def margin(memory: Memory, stream: int, threshold: float) -> float:
    """The residual at which the fluctuation view alone reaches the threshold, in decades; NaN while it is silent."""
    tail = memory.tails[stream]
    if tail[t.COUNT] < t.FEWEST:
        return np.nan
    beyond = threshold - LOCAL_KNEE
    if beyond > 0.0:  # undo the saturation
        beyond = LOCAL_ROOM * (LOCAL_ROOM / max(LOCAL_ROOM - beyond, 1e-3) - 1.0)
    decades = LOCAL_KNEE + beyond + LOCAL_SHIFT - CENTRE
    usual = 0.35 * max(tail[t.Q99], 0.0) + 0.35 * max(tail[t.Q999], 0.0) + LOCAL_PRIOR
    return np.exp(usual + SLOPE * decades) * memory.scalars[m.SPREAD]


@compiled
def margins(memory: Memory, threshold: float) -> tuple[float, float]:
    """How far below and above the expected value."""
    return margin(memory, FLUCTUATION_DOWN, threshold), margin(memory, FLUCTUATION_UP, threshold)
