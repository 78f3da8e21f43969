"""Sensitivity: the limit on the detector's score, learned from what reviews and past incidents say of its history."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from quell.incidents.series import FloatArray

BoolArray = NDArray[np.bool_]

DELAY = 7  # rows within which an incident must be caught, or it counts as missed
FEWEST_INCIDENTS = 5  # in all histories together, below which nothing is learned
# Scores that may become a limit: equal steps of the logit, which are equal steps of rarity.
LEVELS: FloatArray = 1.0 / (1.0 + np.exp(-np.arange(-3.0, 7.01, 0.05)))
# How much the mean of all histories counts beside a history of its own, most pooled first; infinite: one limit for all.
SHARES = (np.inf, 8.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScores:
    """One series' scores (T,), 0..1, and which rows were trouble (T,): incidents, confirmed anomalies, missed ones."""

    name: str
    step: timedelta
    score: FloatArray
    is_trouble: BoolArray
    series: int = 1  # whose greatest score it is: a budget is for each of them

    @property
    def weeks(self) -> float:
        return len(self.score) * self.series * (self.step / timedelta(weeks=1))

    def part(self, start: int, end: int) -> "LabelledScores":
        return replace(self, score=self.score[start:end], is_trouble=self.is_trouble[start:end])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """A limit for each history, in their order. `share` is the pooling that stood the test, `f1` what it reached there.

    `limits` is empty, with the reason, where there is too little to learn from.
    """

    limits: tuple[float, ...]
    share: float
    f1: float | None
    incidents: int
    reason: str


def stretches(flags: BoolArray) -> list[tuple[int, int]]:
    """First row and the row after the last of each unbroken stretch.

    >>> stretches(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def tally(history: LabelledScores, delay: int = DELAY) -> FloatArray:
    """Rows found, flagged without trouble, and in trouble, and false alarms, at each of LEVELS: shape (4, LEVELS).

    An incident with a flag among its first `delay` + 1 rows is found with all its rows, otherwise missed with all. A
    false alarm is an unbroken stretch of rows flagged without trouble.
    """
    found = np.zeros(len(LEVELS))
    for start, end in stretches(history.is_trouble):
        best = float(history.score[start : min(end, start + delay + 1)].max())
        found[: int(LEVELS.searchsorted(best, side="right"))] += end - start
    calm = np.where(history.is_trouble, -1.0, history.score)
    false, goes_on = (
        _reaching(calm),
        _reaching(np.minimum(calm[1:], calm[:-1])),
    )  # each alarm has one row more than joints
    trouble = np.full(len(LEVELS), float(np.count_nonzero(history.is_trouble)))
    return np.array([found, false, trouble, false - goes_on], dtype=np.float64)


def _reaching(scores: FloatArray) -> FloatArray:
    """How many of the scores reach each of LEVELS."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), LEVELS, side="left"), dtype=np.float64)


def f1_of(counts: FloatArray) -> FloatArray:
    """F1 over rows, of counts as `tally` makes them; 0 where there is nothing."""
    found, false, trouble = counts[:3]
    return np.asarray(2.0 * found / np.maximum(found + false + trouble, 1.0), dtype=np.float64)


def learn_sensitivity(
    histories: Sequence[LabelledScores], *, delay: int = DELAY, alarms_per_week: float = math.inf
) -> Sensitivity:
    """The limit for each history that would have served it best, with as much pooling as the histories bear.

    A limit is the lowest score with the highest F1, among those that keep to the budget of false alarms: of limits as
    good as each other the lowest catches earliest. One history rarely holds enough incidents, so that all of them count
    beside its own. How much is decided on the histories themselves: limits of their first halves are tried on their
    second halves, and the most pooled one is taken that lies within one standard error (jackknife over the histories)
    of the best one.
    """
    incidents = sum(len(stretches(one.is_trouble)) for one in histories)
    if incidents < FEWEST_INCIDENTS:
        reason = f"histories hold {incidents} incidents, learning needs {FEWEST_INCIDENTS}: label more anomalies"
        return Sensitivity(limits=(), share=np.inf, f1=None, incidents=incidents, reason=reason)
    share, f1 = _proven_share(histories, delay, alarms_per_week)
    limits = _limits(_weighed(histories, delay, alarms_per_week), share)
    reason = f"learned from {incidents} incidents in {len(histories)} histories"
    return Sensitivity(limits=limits, share=share, f1=f1, incidents=incidents, reason=reason)


def _weighed(histories: Sequence[LabelledScores], delay: int, alarms_per_week: float) -> list[FloatArray]:
    """The tallies, the false alarms as how far they are beyond the budget: below 0 is inside."""
    tallies = [tally(one, delay) for one in histories]
    for one, history in zip(tallies, histories, strict=True):
        one[3] -= min(alarms_per_week * history.weeks, len(history.score))
    return tallies


def _limits(tallies: Sequence[FloatArray], share: float) -> tuple[float, ...]:
    mean = np.mean(tallies, axis=0)
    mixed = [mean if np.isinf(share) else one + share * mean for one in tallies]
    return tuple(float(LEVELS[_best_level(one)]) for one in mixed)


def _best_level(counts: FloatArray) -> int:
    """The lowest with the highest F1 inside the budget; where nothing is inside, the one that comes closest to it."""
    inside = counts[3] <= 0.0
    if not inside.any():
        return int(np.argmin(counts[3]))
    return int(np.argmax(np.where(inside, f1_of(counts), -1.0)))


def _proven_share(
    histories: Sequence[LabelledScores], delay: int, alarms_per_week: float
) -> tuple[float, float | None]:
    """The most pooled share within one standard error of the best; one limit for all where the halves prove nothing."""
    halves = [(one, len(one.score) // 2) for one in histories]
    early = _weighed([one.part(0, at) for one, at in halves], delay, alarms_per_week)
    late = [tally(one.part(at, len(one.score)), delay) for one, at in halves]
    if not sum(one[2, 0] for one in early) or not sum(one[2, 0] for one in late):
        return np.inf, None
    outcomes = [_outcomes(late, _limits(early, share)) for share in SHARES]
    reached = [float(f1_of(one.sum(axis=0))) for one in outcomes]
    best = int(np.argmax(reached))
    enough = reached[best] - _standard_error(outcomes[best])
    taken = next(place for place, f1 in enumerate(reached) if f1 >= enough)
    return SHARES[taken], reached[taken]


def _outcomes(tallies: Sequence[FloatArray], limits: Sequence[float]) -> FloatArray:
    """The counts of each history at its limit, shape (histories, 4)."""
    places = np.searchsorted(LEVELS, limits)
    return np.array([one[:, at] for one, at in zip(tallies, places, strict=True)])


def _standard_error(outcomes: FloatArray) -> float:
    """Of the F1 over all histories, by leaving out each of them in turn."""
    count = len(outcomes)
    if count < 2:
        return 0.0
    without = f1_of((outcomes.sum(axis=0) - outcomes).T)
    return float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
