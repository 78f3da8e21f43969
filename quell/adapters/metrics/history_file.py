"""One series from a CSV or Parquet file as somebody exported it: rows stay as they stand and in their order.

Stricter than a table reader, so that a mistake is named with file, line, column and value; more patient than
`files.read_series`, because real exports repeat a timestamp here and there and go back by an hour when the clocks do.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from quell.adapters.metrics.files import TIMESTAMP, VALUE, need_columns, numbers, place_of, refuse_first
from quell.detection.columns import BoolArray
from quell.incidents.errors import InvalidInput, NotFound
from quell.incidents.series import FloatArray

MOST_ODD_SHARE = 0.01  # repeated or backward rows above this share are no accident of the export
LONGEST_STEP_BACK_SECONDS = 86_400.0  # a clock change goes back by an hour; files joined in the wrong order by days
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # epoch numbers this large are nano-, micro-, milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFile:
    """`timestamps` are epoch seconds, `written` the same moments as the file has them; NaN is a missing sample."""

    path: Path
    timestamps: FloatArray
    written: list[str]
    values: FloatArray
    warnings: tuple[str, ...] = ()


def read_history(path: Path) -> HistoryFile:
    """Columns `timestamp` and `value`; others are ignored.

    Timestamps are ISO 8601 (UTC where no zone is given), epoch numbers or, in Parquet, date-times. Raises NotFound or
    InvalidInput.
    """
    table = read_table(path)
    need_columns(path, table, (TIMESTAMP, VALUE))
    if not len(table):
        raise InvalidInput(f"{path} has no rows")
    timestamps, written = moments(path, table[TIMESTAMP])
    values = numbers(path, table, VALUE)
    infinite = np.isinf(values)
    return HistoryFile(
        path=path,
        timestamps=timestamps,
        written=written,
        values=np.where(infinite, np.nan, values),
        warnings=(*_order_warnings(path, timestamps, written), *_infinity_warnings(path, infinite)),
    )


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def read_table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise NotFound(f"file {path} does not exist")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: name its files, for instance {path}/*.csv")
    try:
        return _read_parquet(path) if is_parquet(path) else _read_csv(path)
    except (ValueError, OSError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        kind = "Parquet" if is_parquet(path) else "CSV"
        raise InvalidInput(f"{path} cannot be read as {kind}: {' '.join(str(error).split())}") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table.reset_index() if table.index.name == TIMESTAMP else table


def _read_csv(path: Path) -> pd.DataFrame:
    """Empty lines count as lines, so that row numbers are line numbers; those at the end are dropped."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(
            path, dtype={TIMESTAMP: str}, skipinitialspace=True, skip_blank_lines=False, index_col=False,
            low_memory=False, encoding="utf-8-sig",
        )  # fmt: skip
    table.columns = [str(name).strip() for name in table.columns]
    filled = np.flatnonzero(table.notna().to_numpy().any(axis=1))
    return table.iloc[: filled[-1] + 1 if len(filled) else 0]


def moments(path: Path, column: pd.Series) -> tuple[FloatArray, list[str]]:
    """Epoch seconds, and the text that stands for each in the output."""
    if pd.api.types.is_datetime64_any_dtype(column):
        refuse_first(path, column, column.isna().to_numpy(), "timestamp is missing")
        return _of_datetimes(column)
    text = column.astype("object").where(column.notna(), "").astype(str).str.strip()
    refuse_first(path, column, (text == "").to_numpy(), "timestamp is missing")
    number = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(number[0]):
        return _of_text(path, column, text), text.tolist()
    refuse_first(path, column, ~np.isfinite(number), "timestamp is not an epoch number as in the first row")
    largest = float(np.abs(number).max())
    return number / next((unit for floor, unit in _UNITS if largest > floor), 1.0), text.tolist()


def _of_datetimes(column: pd.Series) -> tuple[FloatArray, list[str]]:
    has_zone = column.dt.tz is not None
    moments = (column.dt.tz_convert("UTC").dt.tz_localize(None) if has_zone else column).to_numpy("datetime64[us]")
    micros = moments.astype(np.int64)
    unit = "s" if not (micros % 1_000_000).any() else "us"
    text: list[str] = moments.astype(f"datetime64[{unit}]").astype(np.str_).tolist()
    return micros / 1e6, [f"{one}Z" for one in text] if has_zone else text


def _of_text(path: Path, column: pd.Series, text: pd.Series) -> FloatArray:
    moments = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    refuse_first(path, column, moments.isna().to_numpy(), "timestamp is not a time (ISO 8601 or epoch)")
    return moments.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6


def _order_warnings(path: Path, timestamps: FloatArray, written: list[str]) -> Iterator[str]:
    steps = np.diff(timestamps, prepend=-np.inf)
    back, most = steps < 0, MOST_ODD_SHARE * len(steps)
    sort, unique = f".sort_values('{TIMESTAMP}')", f".drop_duplicates('{TIMESTAMP}', keep='last')"
    if back.any():
        row = int(np.argmax(back))
        said = f"{_at(path, written, row)} is earlier than the row before it ({written[row - 1]!r})"
        if np.count_nonzero(back) > most or steps.min(where=back, initial=0.0) < -LONGEST_STEP_BACK_SECONDS:
            raise InvalidInput(f"{said}{_among(back)}: {_repair(path, sort)}")
        yield f"{said}{_among(back)}: scored in the order of the file"
    if (twice := steps == 0).any():
        said = f"{_at(path, written, int(np.argmax(twice)))} is there twice{_among(twice)}"
        if np.count_nonzero(twice) > most:
            raise InvalidInput(f"{said}: {_repair(path, unique)}")
        yield f"{said}: scored in the order of the file"


def _at(path: Path, written: list[str], row: int) -> str:
    return f"{path}, {place_of(path, row)}: timestamp {written[row]!r}"


def _among(odd: BoolArray) -> str:
    count = int(np.count_nonzero(odd))
    return f", {count} of {len(odd)} rows are like that" if count > 1 else ""


def _repair(path: Path, call: str) -> str:
    form = "parquet" if is_parquet(path) else "csv"
    fixed = f"{path.stem}-repaired.{form}"
    return (
        "repair the file first, for instance with python -c "
        f"\"import pandas; pandas.read_{form}('{path}'){call}.to_{form}('{fixed}', index=False)\""
    )


def _infinity_warnings(path: Path, infinite: BoolArray) -> Iterator[str]:
    if infinite.any():
        count, row = int(np.count_nonzero(infinite)), int(np.argmax(infinite))
        yield f"{path}, {place_of(path, row)}: value is infinite ({count} rows): taken as a missing sample"
