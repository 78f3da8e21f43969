"""The weekly report as a file: CSV for spreadsheets, Parquet for programs. One row for each figure."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

from quell.prevention.weekly.export import COLUMNS, LISTS

_pa: Any = pyarrow  # it comes without types
_parquet: Any = parquet
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
_INTEGERS = ("n", "n_before", "waiting")
_NUMBERS = ("value", "median", "p90", "value_before")


def write_csv(rows: Iterable[Mapping[str, object]]) -> str:
    """RFC 4180, in UTF-8; an empty cell is a number that is not there, lists are separated by spaces.

    Names come from outside (alerts, clients): one that a spreadsheet would take for a formula gets an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in COLUMNS])
    return text.getvalue()


def write_parquet(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Typed columns; numbers that are not there are null, lists are lists."""
    sink = io.BytesIO()
    _parquet.write_table(_pa.Table.from_pylist([dict(row) for row in rows], schema=_schema()), sink)
    return sink.getvalue()


def _schema() -> Any:
    def kind(column: str) -> Any:
        if column in LISTS:
            return _pa.list_(_pa.string())
        return _pa.float64() if column in _NUMBERS else _pa.int64() if column in _INTEGERS else _pa.string()

    return _pa.schema([(column, kind(column)) for column in COLUMNS])


def _cell(value: object) -> object:
    if isinstance(value, list):
        return " ".join(cast(list[str], value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
