"""Baselines in the store: fitting them on history without incidents, and loading them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from prefect import task

from quell.adapters.metrics.recent_window import Grid
from quell.detection.archive import arrays_id, baseline_id, check_format, decode, encode
from quell.detection.baseline import Baseline, Period, fit, series_key
from quell.detection.phase import ROWS_OF_OUTLOOK
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.ports import Document, Transaction
from tasks.anomalies import real_periods
from tasks.artifacts import publish, table
from tasks.maintenance import planned_periods
from tasks.resources import Resources, resources
from tasks.runs import log
from tasks.sensitivity import budget_of

MOST_POINTS = 40_000  # of one series in one fit
FEWEST_POINTS = 1_500
MOST_CELLS = 40_000_000  # of one fit, which is 320 MB
# Phases are looked ahead this much longer than until the next refresh is due; while it is late, sweeps do without them.
LOOK_AHEAD = 2.0
MOST_AHEAD_CELLS = 50_000_000  # of all series, which is 200 MB
# An incident's samples reach past its ends by the length of the queries' own windows.
INCIDENT_MARGIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """What became of one signal's baseline; `error` is set where it could not be fitted."""

    signal: str
    series: int = 0
    ready: int = 0
    seasonal: int = 0
    points: int = 0
    excluded: int = 0
    version: str = ""
    note: str = ""
    error: str = ""


_loaded: dict[str, tuple[str, Baseline]] = {}  # of each signal the last one, with its digest


def load_baseline(tx: Transaction, signal: str) -> Baseline | None:
    """The baseline that judges now, or None before the first fit; decoded once for each version in a process.

    Raises InvalidInput where another version of Quell stored it.
    """
    head = tx.documents.get(baseline_id(signal))
    if head is None:
        return None
    check_format(head.body)
    digest, known = _loaded.get(signal, ("", None))
    if known is not None and digest == head.body["digest"] and known.version == head.body["version"]:
        return known
    arrays = tx.documents.get(arrays_id(signal))
    if arrays is None:
        raise InvalidInput(f"baseline {head.body['version']} has lost its arrays: refresh it")
    baseline = decode(head.body, arrays.blob)
    _loaded[signal] = (head.body["digest"], baseline)
    return baseline


def store_baseline(tx: Transaction, baseline: Baseline, now: datetime) -> None:
    """Let this baseline judge from now on."""
    body, blob = encode(baseline)
    arrays = Document(id=arrays_id(baseline.signal), kind="baseline-arrays", updated_at=now, body={}, blob=blob)
    tx.documents.put(arrays)
    tx.documents.put(Document(id=baseline_id(baseline.signal), kind="baseline", updated_at=now, body=body))


def known_series(tx: Transaction, signal: str) -> int:
    """How many series the signal's baseline has; 0 before the first fit."""
    head = tx.documents.get(baseline_id(signal))
    series = head.body["series"] if head else 0
    return series if isinstance(series, int) else len(series)  # an older version wrote their labels here


def _replaceable(tx: Transaction, signal: str) -> Baseline | None:
    """The baseline that a new fit is compared with; none where it cannot be read any more."""
    try:
        return load_baseline(tx, signal)
    except InvalidInput as error:
        log().warning("%s", error)
        return None


def refresh_signal(res: Resources, name: str) -> Refresh:
    """Fit one signal on its history and store the baseline; the old one stays where the new one knows less."""
    signal, now = res.config.signals[name], res.clock()
    try:
        history = fetch_history(res, signal, now)
    except QuellError as error:
        log().error("baseline of %s could not be fitted: %s", name, error)
        return Refresh(signal=name, error=str(error))
    with res.store.reading() as tx:
        known = _replaceable(tx, name)
        excluded = trouble_periods(tx, res, signal, now) + planned_periods(res, signal, history.labels, now)
        budget = budget_of(tx, signal, res.config.detection.false_alarms_per_week)
    detection = res.config.detection
    fitted = fit(
        history,
        signal,
        now=now,
        room=look_ahead(res, signal, len(history.labels)),
        excluded=excluded,
        minimum_samples=detection.minimum_samples,
        false_alarms_per_week=budget,
    )
    lost = _lost_series(known, fitted)
    kept = known if known is not None and lost else fitted
    if kept is fitted:
        with res.store.writing() as tx:
            store_baseline(tx, fitted, now)
    return Refresh(
        signal=name,
        series=len(kept.labels),
        ready=int(np.count_nonzero(kept.ready)),
        seasonal=int(np.count_nonzero(kept.seasonal)),
        points=len(history.timestamps),
        excluded=len(excluded),
        version=kept.version,
        note=f"kept: the new fit has too few samples of {lost} series that it knew before" if lost else "",
    )


def _lost_series(known: Baseline | None, fitted: Baseline) -> int:
    """How many series could be judged before, are still there, and could not be judged by the new fit.

    Where the query returns nothing at all, every series counts: a signal that is gone must not be forgotten.
    """
    if known is None:
        return 0
    ready = {series_key(labels) for labels, ok in zip(known.labels, known.ready.tolist(), strict=True) if ok}
    short = {series_key(labels) for labels, ok in zip(fitted.labels, fitted.ready.tolist(), strict=True) if not ok}
    return len(ready & short) if fitted.labels else len(ready)


def look_ahead(res: Resources, signal: Signal, series: int) -> int:
    """For how many samples after the fit the phases of day and week are needed, and can be kept."""
    wanted = int(LOOK_AHEAD * res.config.intervals.refresh_baselines / signal.step) + 1
    return min(wanted, MOST_AHEAD_CELLS // (ROWS_OF_OUTLOOK * max(series, 1)))


def fetch_history(res: Resources, signal: Signal, now: datetime) -> SeriesMatrix:
    """The signal's history on the grid of its step, as far back as the signal says and 40 million cells allow.

    A young installation has less than that: the rows before its first sample are left out.
    """
    grid = Grid(step=signal.step)
    last = grid.number(now)
    series = len(res.metrics.instant(signal.query, at=grid.moment(last)).labels)
    most = int(np.clip(MOST_CELLS // max(series, 1), FEWEST_POINTS, MOST_POINTS))
    first = last - min(signal.history // signal.step, most) + 1
    history = res.metrics.range(signal.query, start=grid.moment(first), end=grid.moment(last), step=signal.step)
    rows = np.flatnonzero((~np.isnan(history.values)).any(axis=1))
    begun = int(rows[0]) if len(rows) else 0
    return replace(history, timestamps=grid.seconds(first + begun, last), values=history.values[begun:])


def trouble_periods(tx: Transaction, res: Resources, signal: Signal, now: datetime) -> tuple[Period, ...]:
    """The times of incidents that may have shown in the signal, and of anomalies that a person labelled real.

    A dismissed incident was none.
    """
    incidents = tx.incidents.find(after=("updated_at", now - signal.history))
    periods = tuple(
        (i.onset_at - INCIDENT_MARGIN, (i.resolved_at or now) + INCIDENT_MARGIN)
        for i in incidents
        if i.state is not IncidentState.DISMISSED and _shows_in(res, i, signal)
    )
    return periods + real_periods(tx, signal, now)


def _shows_in(res: Resources, incident: Incident, signal: Signal) -> bool:
    return signal.service is None or res.config.catalog.are_related(signal.service, incident.service)


def refreshes_markdown(refreshes: list[Refresh], note: str = "") -> str:
    """What a person reads of a refresh."""
    rows = [
        [r.signal, r.series, r.ready, r.seasonal, r.points, r.excluded, r.error or r.note or f"fitted {_fitted_at(r)}"]
        for r in sorted(refreshes, key=lambda r: (not r.error, r.signal))
    ]
    header = ["signal", "series", "ready", "seasonal", "points", "periods left out", "result"]
    series, ready = sum(r.series for r in refreshes), sum(r.ready for r in refreshes)
    failed = sum(bool(r.error) for r in refreshes)
    head = f"**{ready} of {series} series of {len(refreshes)} signals can be judged"
    head += f"; {failed} signals could not be fitted.**" if failed else ".**"
    legend = (
        "_Ready: enough samples to be judged. Seasonal: the time of day tells more than the last samples. Points: the"
        " length of the history grid. Periods left out: incidents, from which nothing is learned._"
    )
    said = f"**{note}**\n\n" if note else ""
    return f"## Baselines\n\n{head}\n\n{said}{table(header, rows)}\n\n{legend}\n"


def _fitted_at(refresh: Refresh) -> str:
    """The time in a version: `errors@20261123T155500Z` becomes `2026-11-23 15:55`."""
    stamp = refresh.version.rpartition("@")[2]
    try:
        return f"{datetime.strptime(stamp, '%Y%m%dT%H%M%SZ'):%Y-%m-%d %H:%M} UTC"  # noqa: DTZ007 - only shown
    except ValueError:
        return refresh.version


def report_refreshes(refreshes: list[Refresh], note: str = "") -> dict[str, str]:
    """Publish the table; raises the errors of the signals that could not be fitted, all in one."""
    publish("baselines", refreshes_markdown(refreshes, note), "what was fitted, on how much, without which periods")
    failed = [f"{r.signal}: {r.error}" for r in refreshes if r.error]
    if failed:
        raise QuellError(f"{len(failed)} of {len(refreshes)} baselines could not be fitted; " + "; ".join(failed))
    return {r.signal: r.version for r in refreshes}


@task(name="list-signals")
def list_signals() -> list[str]:
    """The signals of the configuration."""
    return list(resources().config.signals)


@task(name="fit-baseline", task_run_name="fit {signal}", persist_result=False)
def fit_baseline(signal: str) -> Refresh:
    """Fetches one signal's history, leaves out incidents, fits and stores the baseline."""
    return refresh_signal(resources(), signal)


@task(name="report-baselines", persist_result=False)
def report_baselines(refreshes: list[Refresh], note: str = "") -> dict[str, str]:
    """Publishes what was fitted, and fails the run where a signal could not be."""
    return report_refreshes(refreshes, note)
