"""The history of an error budget: error ratios in windows of several lengths, as the sweep asks for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil

import numpy as np

from quell.detection.baseline import SeriesKey, series_key
from quell.detection.burn_rate import windowed
from quell.incidents.series import FloatArray, SeriesMatrix
from quell.incidents.signal import Signal
from quell.incidents.slo import BurnWindow, Slo
from quell.prevention.burn_history import BurnHistory
from tasks.maintenance import planned_periods
from tasks.resources import Resources

FINEST = timedelta(minutes=1)  # how often Prometheus evaluates rules by default
MOST_ROWS = 45_000
MOST_CELLS = 4_000_000  # of all windows and series together: 32 MB


def fetch_burns(
    res: Resources,
    signal: Signal,
    slo: Slo,
    windows: Sequence[BurnWindow],
    now: datetime,
    *,
    since: datetime | None = None,
) -> BurnHistory | None:
    """The error ratios in all these windows, asked of the source as the sweep asks them, on one grid.

    Since a time, or over the objective's period, or the signal's history where that is longer. None without samples.
    Raises Unavailable or InvalidInput, as the source does.
    """
    back = max(slo.period, signal.history) if since is None else now - since
    spans = sorted({span for window in windows for span in (window.long, window.short)})
    step = max(signal.step, FINEST)
    series = max(len(res.metrics.instant(signal.query, at=now).labels), 1)
    rows = min(MOST_ROWS, max(MOST_CELLS // (len(spans) * series), 2000))
    step = max(step, timedelta(seconds=ceil(back.total_seconds() / rows)))
    start = now - (back // step) * step
    answers = {
        span: res.metrics.range(windowed(signal.query, span, signal.step), start=start, end=now, step=step)
        for span in spans
    }
    return _history(res, signal, slo, answers, now)


def _history(
    res: Resources, signal: Signal, slo: Slo, answers: dict[timedelta, SeriesMatrix], now: datetime
) -> BurnHistory | None:
    keys = sorted({series_key(labels) for answer in answers.values() for labels in answer.labels})
    times = max((answer.timestamps for answer in answers.values()), key=len)
    ratios = {span: _laid_out(answer, keys, len(times)) for span, answer in answers.items() if len(answer.timestamps)}
    known = np.zeros(len(times), dtype=np.bool_)
    for values in ratios.values():
        known |= np.isfinite(values).any(axis=1)
    if not known.any():
        return None
    first = int(np.argmax(known))
    labels = tuple(dict(key) for key in keys)
    return BurnHistory(
        slo=slo,
        timestamps=times[first:],
        labels=labels,
        ratios={span: values[first:] for span, values in ratios.items()},
        excluded=planned_periods(res, signal, labels, now),
    )


def _laid_out(answer: SeriesMatrix, keys: Sequence[SeriesKey], rows: int) -> FloatArray:
    """The answer's series in the columns of their keys."""
    values = np.full((rows, len(keys)), np.nan)
    places = {key: column for column, key in enumerate(keys)}
    for column, labels in enumerate(answer.labels):
        values[:, places[series_key(labels)]] = answer.values[:, column]
    return values
