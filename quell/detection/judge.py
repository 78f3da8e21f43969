"""Verdicts: the judgement of a signal's series, put into words."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from quell.detection.baseline import Baseline
from quell.detection.judgement import KINDS, Judgement, judge_columns
from quell.detection.spread import TAIL_SAMPLES
from quell.incidents.labels import SERVICE, Labels, fingerprint
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.verdict import Verdict, VerdictKind


def judge(
    baseline: Baseline | None, window: SeriesMatrix, signal: Signal, *, now: datetime, stale_after: timedelta
) -> list[Verdict]:
    """One verdict for each series of the window and of the baseline.

    A signal that nobody has ever seen data of still gets one verdict, `no_data`, so that it cannot be overlooked.
    """
    found = judge_with_onset(baseline, window, signal, now=now, stale_after=stale_after)
    return [verdict for verdict, _ in found]


def judge_with_onset(
    baseline: Baseline | None, window: SeriesMatrix, signal: Signal, *, now: datetime, stale_after: timedelta
) -> list[tuple[Verdict, float]]:
    """The verdicts, each with the moment (epoch seconds) when the present trouble began, if there is any."""
    columns = judge_columns(baseline, window, signal, now=now, stale_after=stale_after)
    found = verdicts(columns, baseline, signal, now=now)
    return list(zip(found, columns.since.tolist(), strict=True)) or [(_never_seen(signal, now), now.timestamp())]


def verdict_id(signal: str, labels: Labels) -> str:
    """The id of a series' latest verdict."""
    return f"{signal}:{fingerprint(labels)}"


def verdicts(columns: Judgement, baseline: Baseline | None, signal: Signal, *, now: datetime) -> Iterator[Verdict]:
    """The verdicts of a judgement, in its order."""
    for place, labels in enumerate(columns.labels):
        kind: VerdictKind = KINDS[int(columns.kind[place])]
        yield Verdict(
            id=verdict_id(signal.name, labels),
            signal=signal.name,
            labels=labels,
            at=now,
            kind=kind,
            value=_number(columns.value[place]),
            expected=_number(columns.expected[place]),
            lower=_number(columns.lower[place]),
            upper=_number(columns.upper[place]),
            score=round(float(columns.score[place]), 4),
            samples=int(columns.samples[place]),
            reason=_reason(kind, columns, place, baseline, signal),
            baseline=baseline.version if baseline is not None and columns.column[place] >= 0 else None,
        )


def _never_seen(signal: Signal, now: datetime) -> Verdict:
    labels = {SERVICE: signal.service} if signal.service else {}
    return Verdict(
        id=verdict_id(signal.name, labels),
        signal=signal.name,
        labels=labels,
        at=now,
        kind=VerdictKind.NO_DATA,
        value=None,
        expected=None,
        lower=None,
        upper=None,
        score=0.0,
        samples=0,
        reason=f"the query of {signal.name} returned no number, and none was ever seen: check the query",
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
            return f"{_show(columns.value[place], signal)} {_against_band(columns, place, signal)}"
        case VerdictKind.ANOMALOUS:
            return _anomalous(columns, place, baseline, signal)


def _warming_up(columns: Judgement, place: int, baseline: Baseline | None) -> str:
    if baseline is None:
        return "no baseline is fitted yet: start refresh-baselines"
    if columns.column[place] < 0:
        return f"the series is not in baseline {baseline.version}: the next refresh will know it"
    return f"{columns.samples[place]} samples of history, {baseline.minimum_samples} are needed to judge"


def _anomalous(columns: Judgement, place: int, baseline: Baseline | None, signal: Signal) -> str:
    said = (
        f"{_show(columns.value[place], signal)} {_against_band(columns, place, signal)}, "
        f"{columns.score[place]:.1f} times the margin ({columns.outside[place]} of the last {columns.recent[place]} "
        "samples are outside)"
    )
    if baseline is None:
        return said
    samples = columns.samples[place]
    up = columns.value[place] > columns.expected[place]
    extreme = (baseline.extreme_up if up else baseline.extreme_down)[columns.column[place]]
    departure = abs(columns.value[place] - columns.expected[place])
    rarity = (
        f"never that far in {samples} samples"
        if departure > extreme
        else f"seen before in {samples} samples, but rarer than {baseline.false_alarms_per_week:g} times a week"
    )
    short = ", a short history, hence a wide band" if samples < TAIL_SAMPLES else ""
    return f"{said}; {rarity}{short}"


def _against_band(columns: Judgement, place: int, signal: Signal) -> str:
    value, lower, upper = columns.value[place], columns.lower[place], columns.upper[place]
    expected = f"(expected {_show(columns.expected[place], signal)})"
    if value > upper:
        return f"is above {_show(upper, signal)} {expected}"
    if value < lower:
        return f"is below {_show(lower, signal)} {expected}"
    if np.isinf(lower):
        return f"stays below {_show(upper, signal)} {expected}"
    if np.isinf(upper):
        return f"stays above {_show(lower, signal)} {expected}"
    return f"is between {_show(lower, signal)} and {_show(upper, signal)} {expected}"


def _show(value: float, signal: Signal) -> str:
    unit = f" {signal.unit}" if signal.unit and signal.unit != "ratio" else ""
    return f"{value:.4g}{unit}"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
