"""Limits by hour of the week: taken only where the history itself shows that they serve better than one for all hours.

Each band of like hours has its own usual level; how far beyond it a sample must be is the same in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from scipy.special import bdtr

from quell.incidents.hours import HourBand, hours_of_week
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.prevention.backtest import Backtest, Trouble, backtest_limits
from quell.prevention.history import WEEK, mask_periods
from quell.prevention.hour_bands import band_of_hour, find_bands
from quell.prevention.limits import Limits
from quell.prevention.threshold import Budget, Limit, Proposal, propose_limits, rounded_away, sides_of

SHORTEST = timedelta(weeks=4)  # of history: each half then shows every hour of the week twice
SURE = 0.05  # a difference that chance makes more often than this proves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Whether limits by hour, learned on the first half of a history, did better on its second half, and why."""

    is_better: bool
    reason: str


def try_by_hour(signal: Signal, whole: SeriesMatrix, budget: Budget, troubles: Sequence[Trouble]) -> Trial:
    """Both kinds of limits from the first half, tried on the second.

    By hour is better where its false alarms keep to the budget there, as far as can be told, and either it catches
    more incidents earlier than later with no more false alarms, or has fewer false alarms without catching more
    incidents later than earlier; the difference such as chance makes it in 1 of 20 cases at most (sign test).
    """
    times = whole.timestamps
    span = timedelta(seconds=float(times[-1] - times[0])) if len(times) else timedelta(0)
    if span < SHORTEST:
        return _worse(f"history of {span / WEEK:.3g} weeks is too short, needs {SHORTEST / WEEK:g}")
    early, late = _part(whole, slice(0, len(times) // 2)), _part(whole, slice(len(times) // 2, len(times)))
    calm = mask_periods(early, [trouble.period for trouble in troubles])
    plain = propose_limits(signal, calm, budget)
    today = _replay(late, limits_of_proposal(plain), plain.steps, troubles)
    if not (_could_show(len(today.catches)) or _could_show(today.rate.count)):
        return _worse(
            f"{len(today.catches)} incidents and {today.rate.count} false alarms in its second half cannot show more"
        )
    shifting = propose_by_hour(signal, calm, budget, plain)
    if not limits_of_proposal(shifting).is_by_hour:
        return _worse("all hours are alike")
    return _compare(today, _replay(late, limits_of_proposal(shifting), plain.steps, troubles), budget)


def propose_by_hour(signal: Signal, history: SeriesMatrix, budget: Budget, plain: Proposal) -> Proposal:
    """The proposal with the limits by hour for those of its sides whose hours differ."""
    reasons, limits = list(plain.reasons), {True: plain.upper, False: plain.lower}
    for is_upper in sides_of(signal.direction):
        found = _side(signal, history, budget, is_upper=is_upper)
        if found is not None:
            limits[is_upper] = found
            reasons.append(f"{'upper' if is_upper else 'lower'} limit by hour of week: {found.reason}")
    return replace(plain, upper=limits[True], lower=limits[False], reasons=tuple(reasons))


def limits_of_proposal(proposal: Proposal) -> Limits:
    upper, lower = proposal.upper, proposal.lower
    return Limits(
        lower=lower.value if lower else None,
        upper=upper.value if upper else None,
        lower_by_hour=lower.by_hour if lower else (),
        upper_by_hour=upper.by_hour if upper else (),
    )


def _side(signal: Signal, history: SeriesMatrix, budget: Budget, *, is_upper: bool) -> Limit | None:
    """The limit of each band is its median and one distance beyond; None where all hours are alike."""
    sign = 1.0 if is_upper else -1.0
    turned = sign * history.values
    bands = find_bands(history.timestamps, turned)
    if len(bands) < 2:
        return None
    place = band_of_hour(bands)[hours_of_week(history.timestamps)]
    usual = np.array([np.nanmedian(turned[place == number]) for number in range(len(bands))])
    above = replace(history, values=turned - usual[place][:, np.newaxis])
    distance = propose_limits(replace(signal, direction=Direction.HIGH, kind=SignalKind.OTHER), above, budget).upper
    if distance is None:
        return None
    levels = [rounded_away(sign * float(level + distance.value), is_upper=is_upper) for level in usual]
    if all(_never_passed(signal, level, is_upper=is_upper) for level in levels):
        return None
    limited = tuple(replace(band, limit=level) for band, level in zip(bands, levels, strict=True))
    reason = f"{distance.value:.3g} beyond what is usual in each of {len(bands)} bands of hours; {distance.reason}"
    return Limit(
        value=max(levels) if is_upper else min(levels), basis=distance.basis, reason=reason, by_hour=joined(limited)
    )


def joined(bands: Sequence[HourBand]) -> tuple[HourBand, ...]:
    """Neighbouring hours of the same days with one limit as one band; a limit may be the same after rounding."""
    found: list[HourBand] = []
    for band in bands:
        last = found[-1] if found else None
        if last is not None and (last.days, last.limit, last.end) == (band.days, band.limit, band.start):
            is_whole_day = last.start == band.end
            found[-1] = replace(last, start=0, end=24) if is_whole_day else replace(last, end=band.end)
        else:
            found.append(band)
    return tuple(found)


def _never_passed(signal: Signal, level: float, *, is_upper: bool) -> bool:
    return level >= 1 if signal.kind is SignalKind.ERROR_RATIO and is_upper else not is_upper and level <= 0


def _compare(today: Backtest, hourly: Backtest, budget: Budget) -> Trial:
    pairs = [(old.after, new.after) for old, new in zip(today.catches, hourly.catches, strict=True)]
    earlier = sum(new is not None and (old is None or new < old) for old, new in pairs)
    later = sum(old is not None and (new is None or old < new) for old, new in pairs)
    old_false, new_false = today.rate.count, hourly.rate.count
    said = (
        f"on the second half of history {earlier} of {len(pairs)} incidents are caught earlier and {later} later, with "
        f"{new_false} false alarms for {old_false}"
    )
    if hourly.rate.low > budget.alarms_per_week:
        return _worse(f"{said}: more than the budget")
    catches_earlier = _is_sure(later, earlier + later) and new_false <= old_false
    alarms_less = _is_sure(new_false, new_false + old_false) and later <= earlier
    if catches_earlier or alarms_less:
        return Trial(is_better=True, reason=f"limits by hour of week: {said}")
    return _worse(f"{said}: no sure gain")


def _could_show(count: int) -> bool:
    return _is_sure(0, count)


def _is_sure(fewer: int, of: int) -> bool:
    """Whether a fair coin gives so few or fewer of so many in at most 1 of 20 cases."""
    return of > 0 and float(bdtr(fewer, of, 0.5)) <= SURE


def _replay(late: SeriesMatrix, limits: Limits, steps: int, troubles: Sequence[Trouble]) -> Backtest:
    return backtest_limits(late, limits, steps=steps, troubles=troubles)


def _part(matrix: SeriesMatrix, rows: slice) -> SeriesMatrix:
    return SeriesMatrix(timestamps=matrix.timestamps[rows], values=matrix.values[rows], labels=matrix.labels)


def _worse(why: str) -> Trial:
    return Trial(is_better=False, reason=f"no limits by hour of week: {why}")
