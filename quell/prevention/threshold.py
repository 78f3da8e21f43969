"""A limit from history that keeps to a budget of false alarms, with what the history can and cannot show."""

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from scipy.special import chdtri

from quell.incidents.hours import HourBand
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.history import observed_weeks, span_in_words, sustained, tightest_level

CONFIDENCE = 0.95
MINIMUM_SAMPLES = 30
_TAIL = 0.9  # samples beyond this quantile are the tail from which rare values are extrapolated


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`alarms_per_week` per series; an alarm fires when the limit is broken for `hold`."""

    alarms_per_week: float
    hold: timedelta

    def steps(self, step_seconds: float) -> int:
        """How many samples in a row make an alarm, at least 1."""
        return max(1, math.ceil(self.hold.total_seconds() / step_seconds) + 1) if step_seconds > 0 else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`basis` says where the limit comes from: observed (history is long enough), extrapolated, or effect.

    effect: the smallest departure that anyone cares about is wider than what history asks for. Where the limit is by
    hour of week `value` is the widest of `by_hour`.
    """

    value: float
    basis: str
    reason: str
    by_hour: tuple[HourBand, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Limits for one signal; None with the reason in `reasons` where none can be given."""

    upper: Limit | None
    lower: Limit | None
    reasons: tuple[str, ...]
    weeks: float
    weeks_needed: float
    steps: int

    @property
    def is_history_long_enough(self) -> bool:
        return self.weeks >= self.weeks_needed


def propose_limits(signal: Signal, history: SeriesMatrix, budget: Budget) -> Proposal:
    """Limits that would have kept to the budget on `history` (incidents and maintenance already masked as NaN).

    History is long enough when its series-weeks could show the budget at 95 %: with no alarm at all, the upper Poisson
    bound is 3.0 / weeks. Then the limit is observed: just beyond the least value that keeps the bound inside the
    budget. Else the tail beyond the 90 % quantile is extrapolated as exponential (peaks over threshold, shape 0), its
    mean excess taken at its upper confidence bound. Assumes that history returns; a level shift makes it wrong.
    NaN breaks runs and is not learned from; a constant series gets its level plus `min_effect`.
    """
    weeks = observed_weeks(history)
    needed = -math.log(1 - CONFIDENCE) / budget.alarms_per_week if budget.alarms_per_week > 0 else math.inf
    step = float(np.median(np.diff(history.timestamps))) if len(history.timestamps) > 1 else 0.0
    steps = budget.steps(step)
    limits: dict[bool, Limit | None] = {True: None, False: None}
    reasons: list[str] = []
    for is_upper in sides_of(signal.direction):
        found = _limit(signal, history, budget, weeks, needed, steps, is_upper=is_upper)
        side = "upper" if is_upper else "lower"
        if isinstance(found, Limit):
            limits[is_upper] = found
            reasons.append(f"{side} limit {found.value:g}: {found.reason}")
        else:
            reasons.append(f"no {side} limit: {found}")
    return Proposal(
        upper=limits[True],
        lower=limits[False],
        reasons=tuple(reasons),
        weeks=weeks,
        weeks_needed=needed,
        steps=steps,
    )


def sides_of(direction: Direction) -> tuple[bool, ...]:
    return {Direction.HIGH: (True,), Direction.LOW: (False,), Direction.BOTH: (True, False)}[direction]


def _limit(
    signal: Signal,
    history: SeriesMatrix,
    budget: Budget,
    weeks: float,
    needed: float,
    steps: int,
    *,
    is_upper: bool,
) -> Limit | str:
    held = sustained(history.values, steps, is_upper=is_upper)
    known = held[np.isfinite(held)]
    if known.size < MINIMUM_SAMPLES:
        return f"history has {known.size} samples that held for {steps} steps, needs {MINIMUM_SAMPLES}"
    sign = 1.0 if is_upper else -1.0
    middle = float(np.median(known))
    if weeks >= needed:
        value = _observed(held, budget, weeks, is_upper=is_upper)
        basis, reason = "observed", f"history of {weeks:.3g} series-weeks shows the budget"
    else:
        value = sign * _extrapolated(sign * known, weeks, budget)
        lack = f"history of {span_in_words(weeks)} is too short to show {budget.alarms_per_week:g} alarms per week"
        basis, reason = (
            "extrapolated",
            f"{lack} (needs {span_in_words(needed)}): its tail is extrapolated, review again later",
        )
    if sign * (value - middle) < signal.min_effect:
        value = middle + sign * signal.min_effect
        usual = f"{middle:.3g} is usual, and less than {signal.min_effect:g} off is of no concern"
        basis, reason = "effect", f"{usual}; {reason}"
    value = rounded_away(value, is_upper=is_upper)
    if sign * (value - middle) <= 0:
        return "history has no spread and min_effect is 0: set the signal's min_effect"
    if signal.kind is SignalKind.ERROR_RATIO and is_upper and value >= 1:
        return f"{value:g} can never be exceeded by a ratio: the signal is too noisy for a fixed limit"
    if not is_upper and value <= 0:
        return f"{value:g} can never be undercut: the signal is too noisy for a fixed limit"
    return Limit(value=value, basis=basis, reason=reason)


def _observed(held: FloatArray, budget: Budget, weeks: float, *, is_upper: bool) -> float:
    """The tightest observed value at which the alarms' upper bound keeps to the budget, as it does at wider ones."""
    sign = 1.0 if is_upper else -1.0
    return sign * tightest_level(sign * held, most_alarms(budget.alarms_per_week * weeks))


def most_alarms(allowed: float) -> int:
    """The greatest count whose upper Poisson bound is at most this; none is always allowed."""
    low, high = 0, max(1, math.ceil(allowed))  # the bound is above the count
    while low < high:
        middle = (low + high + 1) // 2
        is_within = float(chdtri(2 * (middle + 1), 1 - CONFIDENCE)) / 2 <= allowed
        low, high = (middle, high) if is_within else (low, middle - 1)
    return low


def _extrapolated(known: FloatArray, weeks: float, budget: Budget) -> float:
    """The level that is passed `alarms_per_week` times if the tail falls exponentially; never below what was seen."""
    base = float(np.quantile(known, _TAIL))
    excess = known[known > base] - base
    if not excess.size:
        return float(known.max())
    # upper bound of the mean excess: 2 n mean / chi2 quantile (exponential samples)
    mean = 2 * float(excess.sum()) / float(chdtri(2 * excess.size, CONFIDENCE))
    rate = excess.size / max(weeks, 1e-9)  # each tail sample counted as its own alarm: errs on the wide side
    return max(base + mean * math.log(max(rate / budget.alarms_per_week, 1.0)), float(known.max()))


def rounded_away(value: float, *, is_upper: bool) -> float:
    """Three digits, rounded away from the usual level."""
    if value == 0:
        return 0.0
    scale = 10 ** (2 - math.floor(math.log10(abs(value))))
    return (math.ceil(value * scale - 1e-9) if is_upper else math.floor(value * scale + 1e-9)) / scale
