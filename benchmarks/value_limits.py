"""Limits on the value itself, from the first part of a series: one for all hours, or by hour of the week."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np

from benchmarks.delay_score import runs
from quell.detection.columns import BoolArray
from quell.incidents.hours import hours_of_week
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Trouble
from quell.prevention.by_hour import limits_of_proposal, propose_by_hour, try_by_hour
from quell.prevention.history import mask_periods
from quell.prevention.limits import Level
from quell.prevention.threshold import Budget, propose_limits


class Hours(StrEnum):
    """Whether a limit may be by hour of week: never, wherever hours differ, or where history shows a gain."""

    NEVER = "never"
    ALWAYS = "always"
    PROVEN = "proven"


def beyond_limits(
    times: FloatArray, values: FloatArray, labels: BoolArray, *, budget: float, hours: Hours
) -> tuple[FloatArray, bool]:
    """1.0 for each row beyond the limits that the first rows give, those with labels; and whether by hour."""
    learned = len(labels)
    step = timedelta(seconds=float(np.median(np.diff(times))))
    signal = Signal(
        name="s", query="q", kind=SignalKind.OTHER, direction=Direction.BOTH, unit="", step=step, min_effect=0.0
    )
    first = SeriesMatrix(timestamps=times[:learned], values=values[:learned, np.newaxis], labels=({},))
    troubles = [
        Trouble(incident=f"INC-{start}", start=_moment(times[start]), end=_moment(times[end - 1]))
        for start, end in runs(labels)
    ]
    allowed = Budget(alarms_per_week=budget, hold=timedelta(0))
    calm = mask_periods(first, [trouble.period for trouble in troubles])
    proposal = propose_limits(signal, calm, allowed)
    if hours is Hours.ALWAYS or (hours is Hours.PROVEN and try_by_hour(signal, first, allowed, troubles).is_better):
        proposal = propose_by_hour(signal, calm, allowed, proposal)
    limits = limits_of_proposal(proposal)
    over = values > _row_limits(limits.upper_level, times, np.inf)
    under = values < _row_limits(limits.lower_level, times, -np.inf)
    return (over | under).astype(np.float64), limits.is_by_hour


def _row_limits(level: Level | None, times: FloatArray, none: float) -> FloatArray:
    if level is None or isinstance(level, float | int):
        return np.full(len(times), none if level is None else level)
    return level[hours_of_week(times)]


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(float(at), UTC)
