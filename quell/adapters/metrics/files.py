"""CSV and Parquet files as series: one value column, or one column per series. Errors name file, line and value."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from quell.incidents.errors import InvalidInput, NotFound
from quell.incidents.series import FloatArray, SeriesMatrix

TIMESTAMP = "timestamp"
VALUE = "value"
COLUMN = "column"  # the label that carries the column's name in a wide file
_MILLISECONDS_FROM = 1e11  # epoch seconds reach this in the year 5138; larger numbers are milliseconds


def read_series(path: Path) -> SeriesMatrix:
    """One series from the columns `timestamp` and `value`; other columns are ignored, empty values are NaN.

    Timestamps are ISO 8601 (UTC where no zone is given), epoch seconds or epoch milliseconds, and must rise.
    Raises NotFound or InvalidInput.
    """
    table = _read_table(path)
    need_columns(path, table, (TIMESTAMP, VALUE))
    timestamps = _timestamps(path, table, TIMESTAMP)
    values = numbers(path, table, VALUE).reshape(-1, 1)
    return SeriesMatrix(timestamps=timestamps, values=values, labels=({},))


def read_wide(path: Path) -> SeriesMatrix:
    """One series per column; the first column is the timestamp. Labels are {"column": NAME}."""
    table = _read_table(path)
    if table.shape[1] < 2:
        raise InvalidInput(f"{path} has {table.shape[1]} column(s), a wide file needs two or more")
    first, *names = [str(name) for name in table.columns]
    columns = [numbers(path, table, name) for name in names]
    return SeriesMatrix(
        timestamps=_timestamps(path, table, first),
        values=np.column_stack(columns).astype(np.float64),
        labels=tuple({COLUMN: name} for name in names),
    )


class FileSource:
    """A folder of recordings that answers like a server: the query `NAME` is NAME.parquet or NAME.csv in it.

    `NAME:COLUMN` is one column of a wide file. A sample counts at the grid points of the one step after it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        """Series on the grid start, start+step, ... <= end; NaN where the recording has no sample."""
        recorded, seconds = self._recording(query), step.total_seconds()
        points = int(np.floor((end.timestamp() - start.timestamp()) / seconds + 1e-6)) + 1
        grid = start.timestamp() + np.arange(points, dtype=np.float64) * seconds
        return _sampled(recorded, grid, seconds)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        """The last recorded value of each series, at the end of the recording or at a moment."""
        recorded = self._recording(query)
        last = recorded.timestamps[-1] if len(recorded.timestamps) else 0.0
        moment = at.timestamp() if at else float(last)
        return _sampled(recorded, np.array([moment]), np.inf)

    def _recording(self, query: str) -> SeriesMatrix:
        name, _, column = query.partition(":")
        for path in (self.folder / f"{name}.parquet", self.folder / f"{name}.csv"):
            if path.exists():
                return _one_column(path, column) if column else _any_form(path)
        raise InvalidInput(f"query {query!r} names no recording: no {name}.parquet or .csv in {self.folder}")


def _any_form(path: Path) -> SeriesMatrix:
    wide = read_wide(path)
    if ({COLUMN: VALUE}) in wide.labels:
        return read_series(path)
    return wide


def _one_column(path: Path, column: str) -> SeriesMatrix:
    wide = read_wide(path)
    if {COLUMN: column} not in wide.labels:
        raise InvalidInput(f"{path} has no column {column!r}: it has {', '.join(one[COLUMN] for one in wide.labels)}")
    index = wide.labels.index({COLUMN: column})
    return SeriesMatrix(
        timestamps=wide.timestamps, values=wide.values[:, index : index + 1], labels=wide.labels[index : index + 1]
    )


def _sampled(recorded: SeriesMatrix, grid: FloatArray, reach: float) -> SeriesMatrix:
    before = np.searchsorted(recorded.timestamps, grid + 1e-6, side="right") - 1
    values = np.full((len(grid), len(recorded.labels)), np.nan)
    there = before >= 0
    there[there] = grid[there] - recorded.timestamps[before[there]] < reach
    values[there] = recorded.values[before[there]]
    return SeriesMatrix(timestamps=grid, values=values, labels=recorded.labels)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise NotFound(f"file {path} does not exist")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, skipinitialspace=True)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InvalidInput(f"{path} cannot be read as {path.suffix or 'CSV'}: {error}") from error


def need_columns(path: Path, table: pd.DataFrame, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        has = ", ".join(str(name) for name in table.columns)
        raise InvalidInput(f"{path} has no column {missing[0]!r}: the header has {has}")


def numbers(path: Path, table: pd.DataFrame, name: str) -> FloatArray:
    column = table[name]
    numbers = pd.to_numeric(column, errors="coerce")
    refuse_first(path, column, np.asarray(numbers.isna() & column.notna()), f"{name} is not a number")
    return np.asarray(numbers, dtype=np.float64)


def _timestamps(path: Path, table: pd.DataFrame, name: str) -> FloatArray:
    column = table[name]
    if pd.api.types.is_numeric_dtype(column):
        seconds = np.asarray(column, dtype=np.float64)
        if len(seconds) and np.nanmax(np.abs(seconds)) > _MILLISECONDS_FROM:
            seconds = seconds / 1000.0
    else:
        moments = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        parsed = moments.to_numpy(dtype="datetime64[us]").astype(np.int64)
        seconds = np.where(moments.isna(), np.nan, parsed / 1e6)
    refuse_first(path, column, np.isnan(seconds), f"{name} is not a time (ISO 8601 or epoch)")
    steps = np.diff(seconds, prepend=-np.inf)
    refuse_first(path, column, steps == 0, f"{name} is there twice")
    refuse_first(path, column, steps < 0, f"{name} is earlier than the line before it (sort the file by time)")
    return seconds


def refuse_first(path: Path, column: pd.Series, bad: np.ndarray, complaint: str) -> None:
    """Raise InvalidInput for the first bad row."""
    if not bad.any():
        return
    row = int(np.argmax(bad))
    raise InvalidInput(f"{path}, {place_of(path, row)}: {complaint}: {str(column.iloc[row])!r}")


def place_of(path: Path, row: int) -> str:
    """Where a row (from 0) is, for people: line 1 of a CSV is its header, rows of Parquet count from 1."""
    return f"row {row + 1}" if path.suffix.lower() in (".parquet", ".pq") else f"line {row + 2}"
