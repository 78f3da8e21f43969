"""Error budgets at work: the error ratio of each window, asked as rarely as it changes, and its verdict."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from quell.config.burn_windows import burn_windows
from quell.detection.baseline import SeriesKey, series_key
from quell.detection.burn_rate import describe_burn, judge_burn, reachable, windowed
from quell.detection.episode import Finding
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnWindow, Slo
from quell.incidents.threshold import ThresholdState
from quell.incidents.verdict import Verdict
from quell.ports import Document
from tasks.resources import Resources

# A window's ratio moves by a 60th at most within a 60th of the window: asking more often costs much and shows nothing.
ASKED_PER_WINDOW = 60
Measured = dict[timedelta, dict[SeriesKey, float]]


def judge_slo(res: Resources, signal: Signal, slo: Slo, at: datetime) -> tuple[list[Verdict], list[Finding]]:
    """The verdicts on the error budget of each series of a signal, and what deserves an alert.

    Raises Unavailable or InvalidInput, as the metric source does.
    """
    windows = windows_in_force(res, signal)
    ratios = _ratios(res, signal, slo, windows, at)
    known = sorted({key for of_series in ratios.values() for key in of_series})
    verdicts: list[Verdict] = []
    findings: list[Finding] = []
    for key in known:
        of_windows = {span: of_series.get(key, math.nan) for span, of_series in ratios.items()}
        verdict, burn = judge_burn(signal, windows, dict(key), of_windows, now=at)
        verdicts.append(verdict)
        if burn is not None:
            findings.append(describe_burn(verdict, burn, signal, res.config.catalog))
    return verdicts, findings


def burn_subject(signal: str) -> str:
    """The name under which the windows of a signal's burn-rate alerts are versioned."""
    return f"{signal}:burn"


def windows_in_force(res: Resources, signal: Signal) -> tuple[BurnWindow, ...]:
    """Those of the version in force, or the standard ones."""
    with res.store.reading() as tx:
        active = tx.thresholds.find({"signal": burn_subject(signal.name), "state": ThresholdState.ACTIVE})
    return next((version.burn for version in active if version.burn), burn_windows())


def _ratios(res: Resources, signal: Signal, slo: Slo, windows: Sequence[BurnWindow], at: datetime) -> Measured:
    """The error ratio of every series in every window; asked anew where the last answer is too old."""
    with res.store.reading() as tx:
        document = tx.documents.get(f"slo:{signal.name}")
    asked: dict[str, Any] = dict(document.body["windows"]) if document else {}
    spans = {span for pair in reachable(slo, windows) for span in (pair.long, pair.short)}
    changed = False
    for span in sorted(spans):
        query, name = windowed(signal.query, span, signal.step), f"{span.total_seconds():.0f}"
        if not _is_fresh(asked.get(name), query, span, at):
            asked[name] = {"at": at.isoformat(), "query": query, "series": _ask(res, query, at)}
            changed = True
    if changed:
        body = {"windows": asked}
        with res.store.writing() as tx:
            tx.documents.put(Document(id=f"slo:{signal.name}", kind="slo", updated_at=at, body=body))
    return {span: _decode(asked[f"{span.total_seconds():.0f}"]["series"]) for span in spans}


def _is_fresh(answer: Any, query: str, span: timedelta, at: datetime) -> bool:
    if answer is None or answer["query"] != query:
        return False
    age = at - datetime.fromisoformat(answer["at"])
    return timedelta(0) <= age < span / ASKED_PER_WINDOW


def _ask(res: Resources, query: str, at: datetime) -> list[Any]:
    answer = res.metrics.instant(query, at=at)
    if len(answer.timestamps) == 0:
        return []
    pairs = zip(answer.labels, answer.values[-1].tolist(), strict=True)
    return [[dict(labels), value] for labels, value in pairs if math.isfinite(value)]


def _decode(series: list[Any]) -> dict[SeriesKey, float]:
    return {series_key(labels): float(value) for labels, value in series}
