"""A prediction: how many alerts per week a limit will raise, and whether history is long enough to tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from scipy.special import ndtri

from quell.incidents.series import FloatArray
from quell.prevention.history import WEEK, alarm_rate, span_in_words

WITHIN = 0.25  # a prediction holds when the alerts come to within this share of it
CHANCE = 0.8  # how surely that must be expected before a prediction is made
CONFIDENCE = 0.95  # of the interval
FEWEST_POOLED = 5  # histories
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Alerts per week, with the interval in which the coming period's rate is expected.

    `count` alerts came in `weeks`; `dispersion` says how much more they vary from day to day than by chance. Where
    `is_told` is false the number is no prediction: `reason` says what is lacking.
    """

    per_week: float
    count: int
    weeks: float
    dispersion: float
    low: float
    high: float
    is_told: bool
    reason: str

    def holds(self, per_week: float) -> bool:
        """Whether what came is within 25 % of what was predicted."""
        return abs(per_week - self.per_week) <= WITHIN * self.per_week

    def __str__(self) -> str:
        if not self.is_told:
            return f"no prediction: {self.reason}"
        interval = f"{self.low:.2g} to {self.high:.2g}"
        return f"{self.per_week:.3g} alerts per week ({interval}; {self.count} in {self.weeks:.3g} weeks)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What other histories say of one: its rate is `per_week`, as surely as if `count` alerts had shown it."""

    per_week: float
    count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Alerts per sample over several histories, and how alike these are: the shape of the gamma that they follow."""

    per_sample: float
    shape: float

    def prior(self, step: timedelta) -> Prior:
        return Prior(per_week=self.per_sample * (WEEK / step), count=self.shape)


def pool_alerts(counts: Sequence[int], samples: Sequence[int]) -> Pool | None:
    """The pool of histories that raised so many alerts in so many samples; None for too few histories or no alert.

    The shape is by moments: what the rates differ by more than chance makes them (gamma-Poisson; Clayton and Kaldor,
    Biometrics 43, 1987). It is never more than all alerts together, so that histories alike are not taken for one.
    """
    seen, rows = np.array(counts, dtype=np.float64), np.array(samples, dtype=np.float64)
    if len(seen) < FEWEST_POOLED or not seen.sum() or not rows.all():
        return None
    mean = float(seen.sum() / rows.sum())
    spread = float(np.average((seen / rows - mean) ** 2 - mean / rows, weights=rows))
    most = float(seen.sum())
    return Pool(per_sample=mean, shape=min(mean**2 / spread, most) if spread > 0.0 else most)


def predict_alerts(
    started_at: FloatArray, *, start: float, end: float, ahead: timedelta, prior: Prior | None = None
) -> Prediction:
    """What the alerts that began at these times within `start` to `end` (epoch seconds) say about the time `ahead`.

    Assumes that the time ahead is like the past; counts scatter as a Poisson process' do, times the dispersion that
    the days show (variance over mean of their counts, at least 1; taken as 1 below 7 days). Both the past and the
    coming count scatter. It is told only where it then comes to within 25 % with a chance of 80 % or more. A `prior`
    counts beside the history's own alerts: where these are few it says more.
    """
    weeks = max(end - start, 0.0) / WEEK.total_seconds()
    count = len(started_at)
    if not count or not weeks:
        reason = f"{count} alerts in {span_in_words(weeks)} of history"
        high, seen = alarm_rate(count, weeks).high, count / weeks if weeks else math.nan
        return Prediction(
            per_week=seen, count=count, weeks=weeks, dispersion=1.0, low=0.0, high=high, is_told=False, reason=reason
        )
    known, rate = _with_prior(count, weeks, prior)
    dispersion = _dispersion(started_at, start, end)
    expected = rate * (ahead / WEEK)
    spread = math.sqrt(dispersion * (1.0 / known + 1.0 / expected)) if expected else math.inf
    needed = _needed(dispersion, known, expected)
    is_told = known >= needed
    lack = f"{count} alerts in {span_in_words(weeks)} of history, needs {needed:.0f} to tell within {WITHIN:.0%}"
    reach = math.exp(min(float(ndtri(0.5 + CONFIDENCE / 2)) * spread, 700.0))
    return Prediction(
        per_week=rate,
        count=count,
        weeks=weeks,
        dispersion=dispersion,
        low=rate / reach,
        high=rate * reach,
        is_told=is_told,
        reason="" if is_told else lack,
    )


def _with_prior(count: int, weeks: float, prior: Prior | None) -> tuple[float, float]:
    """How many alerts the rate is known from, the prior's among them, and the rate per week."""
    if prior is None or prior.per_week <= 0.0:
        return float(count), count / weeks
    known = count + prior.count
    return known, known / (weeks + prior.count / prior.per_week)


def _needed(dispersion: float, count: float, expected: float) -> float:
    """The count at which the share of scatter allowed is met, the time ahead staying in proportion to the past."""
    allowed = (WITHIN / float(ndtri(0.5 + CHANCE / 2))) ** 2
    return math.ceil(dispersion * (1.0 + count / expected) / allowed) if expected else math.inf


def _dispersion(started_at: FloatArray, start: float, end: float) -> float:
    days = int((end - start) // _DAY)
    if days < 7:
        return 1.0
    counts = np.bincount(((started_at - start) // _DAY).astype(np.int64), minlength=days)[:days]
    mean = float(counts.mean())
    return max(1.0, float(counts.var(ddof=1)) / mean) if mean else 1.0
