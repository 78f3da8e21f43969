"""An incident as a folder of exported metrics: before, during, and what else is known about it.

`normal` and `abnormal` (CSV or Parquet) have a time in their first column and one column per metric, named node/metric;
the last slash separates, so node names may have slashes. Optional beside them: `graph.csv` (caller,callee),
`target.json` ({"node", "metric"}) and `changes.json` or `changes.jsonl` (as the gateway takes them).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from quell.adapters.metrics.files import TIMESTAMP, need_columns, numbers
from quell.adapters.metrics.history_file import moments, read_table
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import InvalidInput, NotFound
from quell.triage.rootcause.shift import FEWEST_ROWS
from quell.triage.rootcause.window import Column, Floats, Window

_CALLER, _CALLEE = "caller", "callee"
_ENDINGS = (".csv", ".parquet", ".pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFiles:
    normal: Window
    abnormal: Window
    calls: tuple[tuple[str, str], ...] = ()
    target: Column | None = None
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


def read_incident(folder: Path) -> IncidentFiles:
    """Raises NotFound or InvalidInput, which name file, line, column, value and what to do."""
    if not folder.is_dir():
        raise NotFound(f"folder {folder} does not exist: give the folder that holds normal.csv and abnormal.csv")
    normal, odd_before = _read_window(_find(folder, "normal"), fewest=FEWEST_ROWS)
    abnormal, odd_now = _read_window(_find(folder, "abnormal"), fewest=1)
    target = _read_target(folder / "target.json")
    warnings = [*odd_before, *odd_now]
    if not set(normal.columns) & set(abnormal.columns):
        raise InvalidInput(
            f"{folder}: normal and abnormal have no column in common (normal has {_first(normal)}, abnormal "
            f"{_first(abnormal)}): export the same metrics, under the same names, for both"
        )
    return IncidentFiles(
        normal=normal,
        abnormal=abnormal,
        calls=_read_calls(folder / "graph.csv"),
        target=target,
        changes=tuple(_read_changes(folder)),
        warnings=tuple(warnings),
    )


def _first(window: Window) -> str:
    return repr("/".join(window.columns[0]))


def _find(folder: Path, stem: str) -> Path:
    found = [folder / f"{stem}{ending}" for ending in _ENDINGS if (folder / f"{stem}{ending}").exists()]
    if not found:
        raise NotFound(f"{folder} has no {stem}.csv or {stem}.parquet: export the metrics of that time into it")
    if len(found) > 1:
        raise InvalidInput(f"{folder} has both {found[0].name} and {found[1].name}: leave one of them")
    return found[0]


def _read_window(path: Path, *, fewest: int) -> tuple[Window, list[str]]:
    table = read_table(path)
    if table.shape[1] < 2:
        raise InvalidInput(f"{path} has {table.shape[1]} columns: it needs a time and at least one node/metric")
    if len(table) < fewest:
        raise InvalidInput(f"{path} has {len(table)} rows, needs {fewest}: export a longer time")
    names = [str(name).strip() for name in table.columns[1:]]
    table.columns = [TIMESTAMP, *names]
    named = [name for name in names if _split(name) is not None]
    warnings = [
        f"{path}: column {name!r} has no node: left out" for name in table.columns[1:] if name not in set(named)
    ]
    if not named:
        raise InvalidInput(f"{path}: column {names[0]!r} is not node/metric: name columns like cart/latency_p95")
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise InvalidInput(f"{path}: column {twice!r} is there twice: leave one of them")
    values = _values(path, table, named)
    timestamps, _ = moments(path, table[TIMESTAMP])
    order = np.argsort(timestamps, kind="stable")
    if (np.diff(timestamps) < 0).any():
        warnings.append(f"{path}: rows are not in order of time: sorted")
    return Window(columns=tuple(_node_and_metric(name) for name in named), values=values[order]), warnings


def _values(path: Path, table: pd.DataFrame, named: list[str]) -> Floats:
    numeric = table.dtypes.map(pd.api.types.is_numeric_dtype)
    if all(numeric[name] for name in named):
        values = table[named].to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = np.column_stack([numbers(path, table, name) for name in named])
    return np.where(np.isinf(values), np.nan, values)


def _split(name: str) -> Column | None:
    node, _, metric = name.rpartition("/")
    return (node.strip(), metric.strip()) if node.strip() and metric.strip() else None


def _node_and_metric(name: str) -> Column:
    split = _split(name)
    assert split is not None, f"{name} was checked before"
    return split


def _read_calls(path: Path) -> tuple[tuple[str, str], ...]:
    if not path.exists():
        return ()
    table = read_table(path)
    table.columns = [str(name).strip().lower() for name in table.columns]
    need_columns(path, table, (_CALLER, _CALLEE))
    pairs = zip(table[_CALLER], table[_CALLEE], strict=True)
    return tuple((str(a).strip(), str(b).strip()) for a, b in pairs if pd.notna(a) and pd.notna(b))


def _read_target(path: Path) -> Column | None:
    if not path.exists():
        return None
    found = _parse(path, path.read_text(encoding="utf-8-sig"), "")
    return _text(path, "", found, "node"), _text(path, "", found, "metric")


def _read_changes(folder: Path) -> Iterator[Change]:
    """A JSON list in changes.json, or one object a line in changes.jsonl."""
    path = folder / "changes.json"
    if path.exists():
        rows = _load(path, path.read_text(encoding="utf-8-sig"), "")
        if not isinstance(rows, list):
            raise InvalidInput(f"{path} is not a list of changes: wrap it in [ ]")
        for place, row in enumerate(cast("list[object]", rows), 1):
            yield _change(path, f", change {place}", row)
    path = folder / "changes.jsonl"
    if path.exists():
        for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if text.strip():
                yield _change(path, f", line {line}", _load(path, text, f", line {line}"))


def _change(path: Path, place: str, row: object) -> Change:
    row = _object(path, place, row)
    at = _moment(path, place, row.get("at"))
    kind = str(row.get("kind", ChangeKind.OTHER))
    return Change(
        id=str(row.get("id") or f"{path.name}{place}"),
        kind=ChangeKind(kind) if kind in set(ChangeKind) else ChangeKind.OTHER,
        service=_text(path, place, row, "service"),
        instance=str(row["instance"]) if row.get("instance") else None,
        at=at,
        summary=str(row.get("summary") or kind),
        received_at=at,
    )


def _moment(path: Path, place: str, value: object) -> datetime:
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"{path}{place}: at is {value!r}: give a time like 2026-11-23T08:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse(path: Path, text: str, place: str) -> dict[str, Any]:
    return _object(path, place, _load(path, text, place))


def _object(path: Path, place: str, found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidInput(f'{path}{place}: {found!r} is not an object: write {{"name": "value"}}')
    return cast("dict[str, Any]", found)


def _load(path: Path, text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{path}{place} is not JSON: {error}") from error


def _text(path: Path, place: str, row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{path}{place}: {key} is {value!r}: it must be a name")
    return value.strip()
