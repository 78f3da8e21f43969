"""Burn-rate alerts recomputed: the windows and factors that keep to the budget of false alarms and catch earliest."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from quell.incidents.series import FloatArray
from quell.incidents.slo import BurnWindow, windows_in_words
from quell.prevention.backtest import Backtest, Trouble, alarms_of
from quell.prevention.burn_history import (
    REACHED,
    BurnHistory,
    backtest_burns,
    false_alarms,
    share_reached,
    span_of,
    windows_known,
    with_factor,
)
from quell.prevention.history import mask_periods
from quell.prevention.prediction import Prediction, predict_alerts
from quell.prevention.threshold import most_alarms

SCALES = (0.5, 1.0, 2.0)  # of the standard windows, both of a pair together
LEAST_FACTOR = 1.0  # who burns no faster than the budget allows will not run out of it
LEAST_GAIN = 0.05  # of the time to catch the incidents: less is no reason to leave the standard
_STEPS = 16  # factors tried between the least one and the highest burn
_MOST_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnSearch:
    """`windows` are in the order of the standard ones; `is_within_budget` as far as the history can tell."""

    windows: tuple[BurnWindow, ...]
    new: Backtest
    old: Backtest
    prediction: Prediction
    is_within_budget: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merit:
    """What a choice is worth: less is better, in this order."""

    excess: int  # false alarms beyond the budget
    alone: int  # while there are some: false alarms of every pair by itself, as several may fire at once
    missed: int
    seconds: float  # from onset to alarm, of all incidents caught
    strayed: float  # how far it is from the standard

    def beats(self, other: "_Merit") -> bool:
        mine, theirs = (self.excess, self.alone, self.missed), (other.excess, other.alone, other.missed)
        if mine != theirs:
            return mine < theirs
        if self.seconds < other.seconds * (1.0 - LEAST_GAIN):
            return True
        return self.seconds <= other.seconds and self.strayed < other.strayed - 1e-9


def scaled(standard: Sequence[BurnWindow], step: timedelta, period: timedelta) -> tuple[BurnWindow, ...]:
    """The standard pairs, with shorter and longer ones of the same factor where step and period allow them."""
    found = [_scale(window, scale) for window in standard for scale in SCALES]
    return tuple(w for w in found if w in standard or (w.short >= 2 * step and w.long <= period))


def search_burns(
    history: BurnHistory,
    standard: Sequence[BurnWindow],
    in_force: Sequence[BurnWindow],
    *,
    budget: float,
    troubles: Sequence[Trouble] = (),
) -> BurnSearch:
    """From the standard pairs on, one after the other and in turns, until no other windows or factor serve better.

    Better is, in this order: fewer false alarms beyond the budget (`budget` per week and series, at the upper 95 %
    Poisson bound), more incidents caught, at least 5 % less time to catch them, nearer to the standard. A pair that the
    history does not cover twice stays as it is. A factor is never below 1. Times are those of the history's grid.
    """
    known, chosen = windows_known(history, standard), list(standard)
    if not known:
        return _outcome(history, tuple(standard), standard, in_force, budget, troubles)
    for _ in range(_MOST_ROUNDS):
        before = list(chosen)
        for place, window in enumerate(standard):
            if window in known:
                chosen = _improve(history, standard, chosen, place, budget, troubles)
        if chosen == before:
            break
    return _outcome(history, tuple(chosen), standard, in_force, budget, troubles)


def _improve(
    history: BurnHistory,
    standard: Sequence[BurnWindow],
    chosen: list[BurnWindow],
    place: int,
    budget: float,
    troubles: Sequence[Trouble],
) -> list[BurnWindow]:
    best, merit = chosen, _merit(history, standard, chosen, budget, troubles)
    for window in _candidates(history, standard[place], troubles):
        tried = [*chosen[:place], window, *chosen[place + 1 :]]
        found = _merit(history, standard, tried, budget, troubles)
        if found.beats(merit):
            best, merit = tried, found
    return best


def _candidates(history: BurnHistory, standard: BurnWindow, troubles: Sequence[Trouble]) -> Iterator[BurnWindow]:
    period, most = history.slo.period, 1.0 / history.slo.error_budget
    for scale in SCALES:
        window = _scale(standard, scale)
        if not history.covers(window):
            continue
        factors = {standard.factor(period), *_ladder(history.burn(window)), *_just_above(history, window, troubles)}
        for factor in sorted(factors):
            if LEAST_FACTOR <= factor < most:
                yield with_factor(window, factor, period)


def _ladder(burn: FloatArray) -> list[float]:
    known = burn[np.isfinite(burn)]
    highest = float(known.max()) if known.size else 0.0
    if highest <= LEAST_FACTOR:
        return []
    return [_short(float(one)) for one in np.geomspace(LEAST_FACTOR, highest, _STEPS)]


def _just_above(history: BurnHistory, window: BurnWindow, troubles: Sequence[Trouble]) -> list[float]:
    """Factors that the calm history never passes, or rarely: the tightest that could keep to a budget."""
    calm = history.calm_burn(window, troubles)
    known = calm[np.isfinite(calm)]
    return [_short(float(np.quantile(known, share))) for share in (0.99, 0.999, 0.9999, 1.0)] if known.size else []


def _short(factor: float) -> float:
    """Three digits, upwards."""
    if factor <= 0.0:
        return 0.0
    scale = 10.0 ** (2 - math.floor(math.log10(factor)))
    return math.ceil(factor * scale - 1e-9) / scale


def _scale(window: BurnWindow, scale: float) -> BurnWindow:
    share = min(window.budget_share * scale, 1.0)
    return replace(window, long=window.long * scale, short=window.short * scale, budget_share=share)


def _merit(
    history: BurnHistory,
    standard: Sequence[BurnWindow],
    chosen: Sequence[BurnWindow],
    budget: float,
    troubles: Sequence[Trouble],
) -> _Merit:
    found = backtest_burns(history, windows_known(history, chosen), troubles)
    after = [catch.after for catch in found.catches if catch.after is not None]
    period = history.slo.period
    strayed = sum(
        abs(math.log(new.factor(period) / old.factor(period))) + abs(math.log(new.long / old.long))
        for new, old in zip(chosen, standard, strict=True)
    )
    excess = max(0, found.rate.count - most_alarms(budget * found.rate.weeks))
    return _Merit(
        excess=excess,
        alone=sum(false_alarms(history, [one], troubles) for one in windows_known(history, chosen)) if excess else 0,
        missed=len(found.catches) - len(after),
        seconds=sum((one.total_seconds() for one in after), 0.0),
        strayed=strayed,
    )


def _outcome(
    history: BurnHistory,
    chosen: tuple[BurnWindow, ...],
    standard: Sequence[BurnWindow],
    in_force: Sequence[BurnWindow],
    budget: float,
    troubles: Sequence[Trouble],
) -> BurnSearch:
    known = windows_known(history, chosen)
    new = backtest_burns(history, known, troubles)
    old = backtest_burns(history, windows_known(history, in_force), troubles)
    is_within = new.rate.count <= most_alarms(budget * new.rate.weeks)
    reasons = [_reason(history, new, old) for new, old in zip(chosen, standard, strict=True)]
    if not is_within:
        reasons.append(f"no windows keep to {budget:g} false alarms per week on this history: {new.rate}")
    return BurnSearch(
        windows=chosen,
        new=new,
        old=old,
        prediction=_predict(history, known),
        is_within_budget=is_within,
        reasons=tuple(reasons),
    )


def _reason(history: BurnHistory, new: BurnWindow, old: BurnWindow) -> str:
    if not history.covers(old):
        return f"{windows_in_words([old], history.slo)} stays: history is shorter than twice its long window"
    if new == old:
        return f"{windows_in_words([old], history.slo)} stays"
    return f"{windows_in_words([new], history.slo)} in place of {windows_in_words([old], history.slo)}"


def _predict(history: BurnHistory, windows: Sequence[BurnWindow]) -> Prediction:
    start, end = span_of(history)
    matrix = mask_periods(share_reached(history, windows), history.excluded)
    starts = np.sort(np.array([alarm.at for alarm in alarms_of(matrix, REACHED, 1)], dtype=np.float64))
    return predict_alerts(starts, start=start, end=end, ahead=timedelta(seconds=end - start))
