"""Scores of one series, row by row, each judged on what came before it only.

The same passage that fits a baseline, run over a file: `quell score` and the benchmarks use it.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from quell.detection.calibration import THRESHOLD_DECADES, score_of
from quell.detection.grid import lay_grid
from quell.detection.passage import COLUMNS, DECADES, EXPECTED, LOWER, NO_VALUE, SILENT, UPPER, pass_series
from quell.detection.streams import NO_VIEW, VIEW_OF, VIEWS
from quell.incidents.series import FloatArray
from quell.incidents.verdict import VerdictKind

CodeArray = NDArray[np.int8]

VERDICTS: tuple[VerdictKind, ...] = tuple(VerdictKind)
CODE = {kind: code for code, kind in enumerate(VERDICTS)}
RECOMMENDED = 0.5
ZERO_NEVER_NORMAL = 0.005  # the share of zeros in the past above which a zero is nothing special

__all__ = ["NO_VIEW", "RECOMMENDED", "VERDICTS", "VIEWS", "Scores", "score_series"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One entry per row. NaN where there is nothing to say: no value, or no expectation yet.

    `score` lies in 0..1; 0.5 is the recommended threshold (`calibration` says what it costs). `verdict` is an index
    into VERDICTS, `view` into VIEWS: the view that departs most. `decades` says how rare that is
    on a scale that grows by one where the tail of the past thins out to a tenth.
    """

    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    verdict: CodeArray
    view: CodeArray
    decades: FloatArray


def score_series(timestamps: FloatArray, values: FloatArray, *, step: timedelta | None = None) -> Scores:
    """Score every row of a series, in the order of the rows, from the rows before it.

    `timestamps` (T,) epoch seconds, `values` (T,), NaN or infinite where missing. Without `step`, the median of the
    steps seen so far is taken. Warming up until 100 values; a constant series is normal until it moves.
    """
    seconds = step.total_seconds() if step else 0.0
    grid = lay_grid(np.asarray(timestamps, dtype=np.float64), seconds)
    known = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    out, stream = np.empty((len(known), COLUMNS)), np.empty(len(known), dtype=np.int8)
    pass_series(known, grid.slots, grid.periods, THRESHOLD_DECADES, out, stream)
    decades = np.nan_to_num(out[:, DECADES], nan=0.0)
    score = score_of(decades) * (stream >= 0)
    return Scores(
        expected=out[:, EXPECTED],
        lower=out[:, LOWER],
        upper=out[:, UPPER],
        score=score,
        verdict=_verdicts(known, score, stream),
        view=np.where(stream >= 0, VIEW_OF[np.maximum(stream, 0)], VIEWS.index(NO_VIEW)).astype(np.int8),
        decades=decades,
    )


def _verdicts(values: FloatArray, score: FloatArray, stream: CodeArray) -> CodeArray:
    verdict = np.full(len(values), CODE[VerdictKind.NORMAL], dtype=np.int8)
    anomalous = score >= RECOMMENDED
    verdict[anomalous] = CODE[VerdictKind.ANOMALOUS]
    verdict[anomalous & (values == 0.0) & _zero_is_new(values)] = CODE[VerdictKind.DROP_TO_ZERO]
    verdict[stream == SILENT] = CODE[VerdictKind.WARMING_UP]
    verdict[stream == NO_VALUE] = CODE[VerdictKind.NO_DATA]
    return verdict


def _zero_is_new(values: FloatArray) -> NDArray[np.bool_]:
    """Whether zeros made up less than a 200th of the rows before each row."""
    there = np.isfinite(values)
    zeros = np.cumsum(values == 0.0) - (values == 0.0)
    return np.asarray(zeros < ZERO_NEVER_NORMAL * (np.cumsum(there) - there), dtype=np.bool_)
