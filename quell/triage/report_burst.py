"""A burst: whether so many users in so short a time are more than the baseline explains.

The model. Voices (different users who report) of one service come as a Poisson process whose rate is not known: it
differs by hour of the week, and from one week to the next. The rate of an hour of the week has a Gamma distribution;
its mean is that of all hours of the service, which in turn begins at one voice in two days, and it is worth
PRIOR_HOURS hours of evidence. The count of voices in a window is then negative-binomial. Where the hours scatter more
than that (variance above mean), its size is taken from the scatter instead (method of moments), so that a service
whose users come in waves needs more of them.

A burst is a count whose chance under that is below ALPHA, and never fewer than LEAST voices. At ten minutes a week has
about a thousand windows: ALPHA = 1e-4 is one false alarm in ten weeks for each service, the price of two voices being
enough where nobody ever complains. Gaps: hours before the first report ever are not counted as calm. A service without
history gets the prior alone.

Source: Gamma-Poisson conjugacy, Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from scipy import stats

LEAST = 2
ALPHA = 1e-4
CHANCE_OF_TROUBLE = 0.003
PRIOR_VOICES = 0.5
PRIOR_ALL_HOURS = 24.0
PRIOR_HOURS = 6.0
WEEKS = 4
_WEEK_HOURS = 168
_ENOUGH_HOURS = 24  # for a variance


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportHistory:
    """Voices by hour (hours since 1970, UTC), from `since` on; an hour that is not there had none."""

    since: int
    voices: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """`mean` voices are expected in the window; `needed` are a burst."""

    mean: float
    needed: int

    def words(self) -> str:
        rate = f"{self.mean:.2g}" if self.mean >= 0.01 else "less than 0.01"
        return f"{rate} expected in this time at this hour of the week, {self.needed} are a burst"


def hour_of(at: datetime) -> int:
    """Hours since 1970."""
    return int(at.astimezone(UTC).timestamp() // 3600)


def expect(history: ReportHistory, *, now: datetime, window: timedelta) -> Expectation:
    """What is expected in a window that ends now."""
    width = window.total_seconds() / 3600
    this = hour_of(now)
    hours = np.arange(max(history.since, this - WEEKS * _WEEK_HOURS), this)
    counts = np.array([history.voices.get(int(hour), 0) for hour in hours], dtype=float)
    mean_rate = (PRIOR_VOICES + counts.sum()) / (PRIOR_ALL_HOURS + len(counts))
    distance = np.abs((hours - this + _WEEK_HOURS // 2) % _WEEK_HOURS - _WEEK_HOURS // 2)
    alike = counts[distance <= 1]
    size = mean_rate * PRIOR_HOURS + alike.sum()
    mean = size / (PRIOR_HOURS + len(alike)) * width
    size = min(size, _scatter_size(counts))
    return Expectation(mean=float(mean), needed=_needed(float(mean), float(size)))


def _scatter_size(counts: np.ndarray) -> float:
    """The size of the negative binomial that has this mean and variance; infinite where it is no wider than Poisson."""
    if len(counts) < _ENOUGH_HOURS or not counts.any():
        return np.inf
    mean, variance = counts.mean(), counts.var(ddof=1)
    return float(mean**2 / (variance - mean)) if variance > mean else np.inf


def needed_in_flood(doubtful: int) -> int:
    """How many voices that speak of trouble a flood of so many meaningless ones would hold by chance.

    A meaningless text has such a word about three times in a thousand (measured on random syllables: less than one).
    """
    return int(stats.binom.isf(ALPHA, doubtful, CHANCE_OF_TROUBLE)) + 1 if doubtful else 0


def _needed(mean: float, size: float) -> int:
    """The smallest count that comes by chance less often than ALPHA."""
    found = int(stats.nbinom.isf(ALPHA, size, size / (size + mean))) + 1
    return max(found, LEAST)
