"""A study: one signal's history, the limits it gives, and what old and new limits would have done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from prefect import task
from prefect.runtime import task_run

from quell.incidents.series import FloatArray
from quell.incidents.signal import Signal
from quell.incidents.threshold import ThresholdState, ThresholdVersion
from quell.prevention.backtest import Backtest
from quell.prevention.limits import limits_of
from quell.prevention.recomputation import Recomputation, recompute_limits
from quell.prevention.threshold import Budget, Proposal
from tasks.history import fetch_history, past_troubles
from tasks.maintenance import planned_periods
from tasks.progress import shown_progress
from tasks.resources import Resources, resources

_HOLD_STEPS = 3  # an alarm needs three samples beyond the limit
_SHOWN_POINTS = 1_400  # of a history of any length: the greatest value of each stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One signal's history with what was found in it, small enough to be sent from a worker.

    `shown` is the greatest value of all series, thinned for the chart.
    """

    signal: Signal
    found: Recomputation
    old: ThresholdVersion | None
    shown_at: FloatArray
    shown: FloatArray

    @property
    def proposal(self) -> Proposal:
        return self.found.proposal

    @property
    def old_backtest(self) -> Backtest | None:
        return self.found.old

    @property
    def new_backtest(self) -> Backtest:
        return self.found.new

    @property
    def upper(self) -> float | None:
        return self.found.limits.upper

    @property
    def lower(self) -> float | None:
        return self.found.limits.lower


def study_of(res: Resources, signal: Signal) -> Study:
    """History without incidents, the limits it gives, and what old and new limits would have done."""
    now = res.clock()
    history = fetch_history(res, signal, now)
    budget = Budget(alarms_per_week=res.config.detection.false_alarms_per_week, hold=hold_of(signal))
    with res.store.reading() as tx:
        old = next(iter(tx.thresholds.find({"signal": signal.name, "state": ThresholdState.ACTIVE})), None)
    shown_at, shown = _shown(history.timestamps, history.values)
    return Study(
        signal=signal,
        found=recompute_limits(
            signal,
            history,
            budget,
            troubles=past_troubles(res, signal, now),
            excluded=planned_periods(res, signal, history.labels, now),
            old=limits_of(old) if old else None,
        ),
        old=old,
        shown_at=shown_at,
        shown=shown,
    )


def hold_of(signal: Signal) -> timedelta:
    return (_HOLD_STEPS - 1) * signal.step


def _shown(timestamps: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The greatest value of all series in each of equal stretches of rows; NaN where there is none."""
    rows = len(timestamps)
    if not rows or not values.shape[1]:
        return timestamps, np.full(rows, np.nan)
    size = math.ceil(rows / _SHOWN_POINTS)
    starts = np.arange(0, rows, size)
    worst = np.where(np.isfinite(values), values, -np.inf).max(axis=1)
    highest = np.maximum.reduceat(worst, starts)
    return timestamps[starts], np.where(np.isfinite(highest), highest, np.nan)


def _run_name() -> str:
    names = task_run.get_parameters()["signals"]
    return f"study {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


@task(name="study-signals", task_run_name=_run_name, persist_result=False)
def study_signals(signals: Sequence[str]) -> list[Study]:
    """Recomputes and backtests the limits of some signals; the artifact `studying-*` shows how far it is."""
    res = resources()
    with shown_progress(f"studying {signals[0]}", len(signals)) as advance:
        studies: list[Study] = []
        for name in signals:
            studies.append(study_of(res, res.config.signals[name]))
            advance()
    return studies
