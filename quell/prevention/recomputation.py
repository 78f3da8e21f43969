"""A recomputation: the limits that one signal's history gives, and what they and today's would have done on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.prevention.backtest import Backtest, Trouble, alarms_of, backtest_limits
from quell.prevention.history import Period, mask_periods
from quell.prevention.prediction import Prediction, predict_alerts
from quell.prevention.threshold import Budget, Proposal, propose_limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A lower and an upper limit, each None where there is none."""

    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """`old` is None where no limit is in force; `prediction` is on all alerts of the new one, true and false."""

    proposal: Proposal
    new: Backtest
    old: Backtest | None
    prediction: Prediction

    @property
    def limits(self) -> Limits:
        upper, lower = self.proposal.upper, self.proposal.lower
        return Limits(lower=lower.value if lower else None, upper=upper.value if upper else None)


def recompute_limits(
    signal: Signal,
    history: SeriesMatrix,
    budget: Budget,
    *,
    troubles: Sequence[Trouble] = (),
    excluded: Sequence[Period] = (),
    old: Limits | None = None,
) -> Recomputation:
    """Limits from the quiet part of the history, and the replay of old and new ones over all of it.

    The tightest limit that keeps to the budget is taken: no wider one catches any incident earlier. Time and memory
    are linear in the samples.
    """
    whole = mask_periods(history, excluded)
    proposal = propose_limits(signal, mask_periods(whole, [t.period for t in troubles]), budget)
    upper, lower = (limit.value if limit else None for limit in (proposal.upper, proposal.lower))
    before = None
    if old is not None:
        before = backtest_limits(whole, upper=old.upper, lower=old.lower, steps=proposal.steps, troubles=troubles)
    return Recomputation(
        proposal=proposal,
        new=backtest_limits(whole, upper=upper, lower=lower, steps=proposal.steps, troubles=troubles),
        old=before,
        prediction=_predict(whole, upper, lower, proposal.steps),
    )


def _predict(matrix: SeriesMatrix, upper: float | None, lower: float | None, steps: int) -> Prediction:
    """On as long a time as the history spans; alerts of all series together, gaps of single series counting as calm."""
    times: FloatArray = matrix.timestamps
    start, end = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
    starts = np.sort(np.array([alarm.at for alarm in alarms_of(matrix, upper, lower, steps)], dtype=np.float64))
    return predict_alerts(starts, start=start, end=end, ahead=timedelta(seconds=end - start))
