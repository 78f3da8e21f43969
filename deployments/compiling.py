"""Compiles the detector's loops ahead of their first use: `python -m deployments.compiling`.

numba keeps the machine code beside the modules. Without this the first fit and the first sweep after an installation
each wait for the compiler: half a minute of processor together, longer on a busy machine.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np

from quell.detection.baseline import fit
from quell.detection.fleet import fit_fleet
from quell.detection.judge import judge
from quell.detection.scoring import score_series
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind

_ROWS = 64
_STEP = timedelta(seconds=60)
_SIGNAL = Signal(
    name="compiling", query="vector(1)", kind=SignalKind.OTHER, direction=Direction.BOTH, unit="", step=_STEP
)


def compile_detector() -> float:
    """Fit, judge and score a few made-up rows; the seconds that it took."""
    began = time.perf_counter()
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    times = end.timestamp() - _STEP.total_seconds() * np.arange(_ROWS - 1, -1, -1.0)
    rows = 1 + 0.1 * np.sin(np.arange(_ROWS * 2.0)).reshape(_ROWS, 2)
    for values in (rows, np.asfortranarray(rows)):  # one series lies in memory as the first, several as the second
        fit_fleet(values, period=1440, room=12)
    baseline = fit(_matrix(times, rows), _SIGNAL, now=end, room=12)
    later = _matrix(times + _STEP.total_seconds() * 2, rows)
    judge(baseline, later, _SIGNAL, now=end + _STEP * 2, stale_after=_STEP * 5)
    score_series(times, rows[:, 0], step=_STEP)
    return time.perf_counter() - began


def _matrix(times: FloatArray, values: FloatArray) -> SeriesMatrix:
    labels = tuple({"instance": f"made-up-{n}"} for n in range(values.shape[1]))
    return SeriesMatrix(timestamps=times, values=values, labels=labels)


if __name__ == "__main__":
    sys.stdout.write(f"the detector is compiled ({compile_detector():.1f} s)\n")
