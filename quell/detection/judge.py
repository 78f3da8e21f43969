"""Verdicts: the judgement of a signal's series, put into words."""

from datetime import datetime, timedelta

import numpy as np

from quell.detection.baseline import Baseline
from quell.detection.calibration import alarms_per_week
from quell.detection.fleet import Fleet
from quell.detection.judged import CODE, KINDS, Judged
from quell.detection.judgement import Judgement, judge_columns
from quell.detection.streams import STREAMS
from quell.detection.tail import FEWEST
from quell.detection.words import describe_value, describe_view, with_unit
from quell.incidents.labels import SERVICE, Labels, fingerprint, fingerprints
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict, VerdictKind


def judge(
    baseline: Baseline | None, window: SeriesMatrix, signal: Signal, *, now: datetime, stale_after: timedelta
) -> list[Verdict]:
    """One verdict for each series of the window and of the baseline.

    A signal that nobody has ever seen data of still gets one verdict, `no_data`, so that it cannot be overlooked.
    """
    found, _ = judge_with_onset(baseline, None, window, signal, now=now, stale_after=stale_after)
    return [verdict for verdict, _ in found]


def judge_with_onset(
    baseline: Baseline | None,
    fleet: Fleet | None,
    window: SeriesMatrix,
    signal: Signal,
    *,
    now: datetime,
    stale_after: timedelta,
) -> tuple[Judged, Fleet | None]:
    """The verdicts as columns, each with the moment when the present trouble began, if there is any.

    And where the fleet stands before the window's last row: given back the next time, only newer rows are judged.
    """
    columns, before = judge_columns(baseline, fleet, window, signal, now=now, stale_after=stale_after)
    if not columns.labels:
        return _never_seen(signal, now), before
    judged = Judged(
        signal=signal.name,
        at=now,
        baseline=baseline.version if baseline is not None else None,
        labels=columns.labels,
        prints=columns.prints,
        kind=columns.kind,
        known=columns.column >= 0,
        value=columns.value,
        expected=columns.expected,
        lower=columns.lower,
        upper=columns.upper,
        score=np.round(columns.score, 4),
        samples=columns.samples,
        since=columns.since,
        why=lambda place: _reason(KINDS[int(columns.kind[place])], columns, place, baseline, signal),
    )
    return judged, before


def verdict_id(signal: str, labels: Labels) -> str:
    """The id of a series' latest verdict."""
    return f"{signal}:{fingerprint(labels)}"


def _never_seen(signal: Signal, now: datetime) -> Judged:
    labels = {SERVICE: signal.service} if signal.service else {}
    nothing, zero = np.array([np.nan]), np.array([0], dtype=np.int64)
    reason = f"the query of {signal.name} returned no number, and none was ever seen: check the query"
    return Judged(
        signal=signal.name,
        at=now,
        baseline=None,
        labels=(labels,),
        prints=fingerprints((labels,)),
        kind=zero + CODE[VerdictKind.NO_DATA],
        known=np.array([False]),
        value=nothing,
        expected=nothing,
        lower=nothing,
        upper=nothing,
        score=np.zeros(1),
        samples=zero,
        since=np.array([now.timestamp()]),
        why=lambda _: reason,
    )


def _reason(kind: VerdictKind, columns: Judgement, place: int, baseline: Baseline | None, signal: Signal) -> str:
    match kind:
        case VerdictKind.NO_DATA:
            return f"no sample in the window; the series was there {columns.score[place]:.0%} of the time before"
        case VerdictKind.STALE:
            return f"the last sample ({_show(columns.value[place], signal)}) is {columns.age_seconds[place]:.0f} s old"
        case VerdictKind.WARMING_UP:
            return _warming_up(columns, place, baseline)
        case VerdictKind.DROP_TO_ZERO:
            return (
                f"fell to exactly 0; expected {_show(columns.expected[place], signal)}, "
                f"and zero was never normal in {columns.samples[place]} samples"
            )
        case VerdictKind.NORMAL:
            return _within(columns, place, signal)
        case VerdictKind.ANOMALOUS:
            return _anomalous(columns, place, signal)


def _warming_up(columns: Judgement, place: int, baseline: Baseline | None) -> str:
    if baseline is None:
        return "no baseline is fitted yet: start refresh-baselines"
    if columns.column[place] < 0:
        return f"the series is not in baseline {baseline.version}: the next refresh will know it"
    return f"{columns.samples[place]} samples of history, {baseline.minimum_samples} are needed to judge"


def _anomalous(columns: Judgement, place: int, signal: Signal) -> str:
    samples, stream = int(columns.samples[place]), int(columns.stream[place])
    view = describe_view(STREAMS[stream].view) if stream >= 0 else "no new sample"
    often = _often(alarms_per_week(float(columns.decades[place]), step=signal.step))
    rare = f"score {columns.score[place]:.2f}, {often} where nothing is wrong"
    short = ", a short history, hence a wide band" if samples < FEWEST else ""
    return f"{_within(columns, place, signal)}; what departs most is {view} ({rare}; {samples} samples{short})"


def _often(per_week: float) -> str:
    """
    >>> _often(3.0), _often(0.25), _often(0.001)
    ('3 times a week', 'once in 4 weeks', 'less than once a year')
    """
    if per_week >= 1.0:
        return f"{per_week:.2g} times a week"
    return f"once in {1.0 / per_week:.2g} weeks" if per_week > 1.0 / 52.0 else "less than once a year"


def _within(columns: Judgement, place: int, signal: Signal) -> str:
    band = (columns.expected[place], columns.lower[place], columns.upper[place])
    return describe_value(columns.value[place], *band, unit=signal.unit)


def _show(value: float, signal: Signal) -> str:
    return with_unit(value, signal.unit)
