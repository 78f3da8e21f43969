"""A recomputation: the limits that one signal's history gives, and what they and today's would have done on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.prevention.backtest import Backtest, Trouble, alarms_of, backtest_limits
from quell.prevention.by_hour import limits_of_proposal, propose_by_hour, try_by_hour
from quell.prevention.history import Period, mask_periods
from quell.prevention.limits import Limits
from quell.prevention.prediction import Prediction, predict_alerts
from quell.prevention.threshold import Budget, Proposal, propose_limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputation:
    """`old` is None where no limit is in force; `prediction` is on all alerts of the new one, true and false."""

    proposal: Proposal
    new: Backtest
    old: Backtest | None
    prediction: Prediction

    @property
    def limits(self) -> Limits:
        return limits_of_proposal(self.proposal)


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

    The tightest limit that keeps to the budget is taken: no wider one catches any incident earlier. It is by hour of
    week where the history shows that this serves better. Time and memory are linear in the samples.
    """
    whole = mask_periods(history, excluded)
    proposal = _propose(signal, whole, budget, troubles)
    limits = limits_of_proposal(proposal)
    before = None if old is None else backtest_limits(whole, old, steps=proposal.steps, troubles=troubles)
    return Recomputation(
        proposal=proposal,
        new=backtest_limits(whole, limits, steps=proposal.steps, troubles=troubles),
        old=before,
        prediction=_predict(whole, limits, proposal.steps),
    )


def _propose(signal: Signal, whole: SeriesMatrix, budget: Budget, troubles: Sequence[Trouble]) -> Proposal:
    quiet = mask_periods(whole, [t.period for t in troubles])
    plain = propose_limits(signal, quiet, budget)
    trial = try_by_hour(signal, whole, budget, troubles)
    chosen = propose_by_hour(signal, quiet, budget, plain) if trial.is_better else plain
    return replace(chosen, reasons=(*chosen.reasons, trial.reason))


def _predict(matrix: SeriesMatrix, limits: Limits, steps: int) -> Prediction:
    """On as long a time as the history spans; alerts of all series together, gaps of single series counting as calm."""
    times: FloatArray = matrix.timestamps
    start, end = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
    starts = np.sort(np.array([alarm.at for alarm in alarms_of(matrix, limits, steps)], dtype=np.float64))
    return predict_alerts(starts, start=start, end=end, ahead=timedelta(seconds=end - start))
