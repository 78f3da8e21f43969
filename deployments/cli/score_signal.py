"""Scoring a configured signal's history: read from Prometheus, one result per series."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from deployments.cli.score_files import prepare, progress_bar
from deployments.cli.scored_series import Outcome, judge_series, outcome_of, write
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.config.load import load_config
from quell.config.problem import did_you_mean
from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Labels, format_labels
from quell.incidents.series import FloatArray, SeriesMatrix


def score_signal(name: str, since: str, config: Path, folder: Path, *, with_plot: bool) -> list[Outcome]:
    """NAME.csv, or NAME-VALUES.csv for each series where there are several; rows begin with its first sample."""
    settings = load_config(config)
    if name not in settings.signals:
        raise InvalidInput(f"signal {name!r} is not in {config}/signals.yaml{did_you_mean(name, settings.signals)}")
    signal, now = settings.signals[name], datetime.now(UTC)
    source = PrometheusSource(settings.connections.prometheus, timeout=settings.connections.timeout)
    try:
        matrix = source.range(signal.query, start=now - parse_duration(since), end=now, step=signal.step)
    finally:
        source.close()
    if not matrix.labels:
        raise InvalidInput(f"signal {name!r} has no samples in the last {since}: {signal.query}")
    prepare(folder, with_plot=with_plot)
    stems = stems_of(name, matrix.labels)
    with progress_bar() as bar:
        columns = bar.track(range(len(stems)), description=f"scoring {name}")
        return [_score_column(matrix, column, stems[column], signal.step, folder, with_plot) for column in columns]


def _score_column(
    matrix: SeriesMatrix, column: int, stem: str, step: timedelta, folder: Path, with_plot: bool
) -> Outcome:  # fmt: skip
    values = matrix.values[:, column]
    first = int(np.argmax(~np.isnan(values)))
    timestamps = matrix.timestamps[first:]
    series = judge_series(stem, timestamps, _iso(timestamps), values[first:], step=step)
    source = format_labels(matrix.labels[column])
    try:
        write(series, folder, with_plot)
    except OSError as error:
        return Outcome(source=source, written_to=folder / f"{stem}.csv", error=f"{stem}: {error}")
    return outcome_of(series, source, folder / f"{stem}.csv")


def stems_of(name: str, labels: Sequence[Labels]) -> list[str]:
    """A file name for each series: the signal, and the values of the labels in which the series differ.

    >>> stems_of("errors", [{"service": "shop", "instance": "a/1"}, {"service": "shop", "instance": "b"}])
    ['errors-a_1', 'errors-b']
    """
    keys = sorted({key for one in labels for key in one})
    telling = [key for key in keys if len({one.get(key) for one in labels}) > 1]
    stems = ["-".join([name, *(re.sub(r"[^\w.-]+", "_", one.get(key, "")) for key in telling)]) for one in labels]
    return [stem if stems.count(stem) == 1 else f"{stem}-{place}" for place, stem in enumerate(stems)]


def _iso(timestamps: FloatArray) -> list[str]:
    return [datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z") for second in timestamps.tolist()]
