"""Recovery: whether a mitigation helped, judged by what users see and never by the alert that it silenced itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from quell.incidents.chart import format_value
from quell.incidents.mitigation import Recovery
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.response.playbook import RecoveryRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`recovery` is None while it is too early to tell; `reason` is for the timeline."""

    recovery: Recovery | None
    reason: str


def judge(
    rule: RecoveryRule,
    matrix: SeriesMatrix,
    *,
    limit: float | None,
    unit: str = "",
    step: timedelta,
    applied_at: datetime,
    now: datetime,
) -> Judgement:
    """Effective, ineffective, inconclusive, or too early to tell.

    `matrix` holds the user-facing signal from before the effect until now; with several series the worst counts.
    `unit` is the signal's, for the reason.
    Effective: inside `limit` at every sample of the last `hold`, all of it after the effect, and outside it at some
    time before (a rule marked preventive does not need that). Ineffective: outside at the deadline. Everything else
    at the deadline is inconclusive; missing samples are never healthy.
    """
    if limit is None:
        return _at_deadline(rule, applied_at, now, Recovery.INCONCLUSIVE, f"{rule.signal} has no limit to judge by")
    times, worst = matrix.timestamps, worst_series(matrix)
    start = max(applied_at.timestamp(), now.timestamp() - rule.hold.total_seconds())
    recent = worst[(times > start) & (times <= now.timestamp())]
    needed = max(int(rule.hold / step), 1)
    present = recent[np.isfinite(recent)]
    was_harmed = bool(np.any(worst[np.isfinite(worst)] > limit))
    figures = _figures(rule, times, worst, applied_at, limit, unit)
    is_complete = now - applied_at >= rule.hold and len(recent) >= needed and len(present) == len(recent)
    if is_complete and bool(np.all(present <= limit)):
        return _held(rule, applied_at, now, was_harmed, figures)
    if len(present) == 0:
        return _at_deadline(rule, applied_at, now, Recovery.INCONCLUSIVE, f"no data: {figures}")
    if present[-1] > limit:
        return _at_deadline(rule, applied_at, now, Recovery.INEFFECTIVE, f"still outside: {figures}")
    held = f"it has not been inside for {rule.hold.total_seconds():.0f} s without a gap"
    return _at_deadline(rule, applied_at, now, Recovery.INCONCLUSIVE, f"{held}: {figures}")


def inconclusive_at_deadline(rule: RecoveryRule, applied_at: datetime, now: datetime, reason: str) -> Judgement:
    """Not shown to have helped; until the deadline that may still change."""
    return _at_deadline(rule, applied_at, now, Recovery.INCONCLUSIVE, reason)


def worst_series(matrix: SeriesMatrix) -> FloatArray:
    """The highest value over the series at each time, shape (T,); NaN where no series has a sample."""
    if matrix.values.shape[1] == 0:
        return np.full(len(matrix.timestamps), np.nan)
    filled = np.where(np.isfinite(matrix.values), matrix.values, -np.inf).max(axis=1)
    return np.where(np.isfinite(filled), filled, np.nan)


def _held(rule: RecoveryRule, applied_at: datetime, now: datetime, was_harmed: bool, figures: str) -> Judgement:
    held = f"inside its limit for {rule.hold.total_seconds():.0f} s: {figures}"
    if was_harmed:
        return Judgement(recovery=Recovery.EFFECTIVE, reason=held)
    if rule.preventive:
        return Judgement(recovery=Recovery.EFFECTIVE, reason=f"users stayed {held}")
    return _at_deadline(
        rule,
        applied_at,
        now,
        Recovery.INCONCLUSIVE,
        f"users were inside the limit before it too, it proves nothing: {figures}",
    )


def _at_deadline(rule: RecoveryRule, applied_at: datetime, now: datetime, verdict: Recovery, reason: str) -> Judgement:
    left = (applied_at + rule.deadline - now).total_seconds()
    if left > 0:
        return Judgement(recovery=None, reason=f"{reason}; {left:.0f} s to the deadline")
    return Judgement(recovery=verdict, reason=reason)


def _figures(
    rule: RecoveryRule, times: FloatArray, worst: FloatArray, applied_at: datetime, limit: float, unit: str
) -> str:
    def shown(value: float) -> str:
        return format_value(float(value), unit, digits=4)

    known = np.isfinite(worst)
    before, after = worst[known & (times <= applied_at.timestamp())], worst[known & (times > applied_at.timestamp())]
    was = f"{shown(np.max(before))} at worst before" if len(before) else "no sample before"
    now = f"{shown(after[-1])} now" if len(after) else "no sample since"
    return f"{rule.signal} {was}, {now}, limit {shown(limit)}"
