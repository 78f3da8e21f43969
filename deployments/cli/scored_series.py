"""One series with its scores: what `quell score` computes, writes and reports, one series at a time."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from quell.adapters.metrics.history_file import read_history
from quell.detection.scoring import VERDICTS, score_series
from quell.incidents.errors import QuellError
from quell.incidents.series import FloatArray
from quell.incidents.verdict import VerdictKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quell.detection.scoring import Scores

TROUBLE = (VerdictKind.ANOMALOUS, VerdictKind.DROP_TO_ZERO)
# The file has the decision only, so that selecting `anomalous` misses nothing; the page tells a drop to zero apart.
DECISIONS = tuple((VerdictKind.ANOMALOUS if kind in TROUBLE else kind).value for kind in VERDICTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSeries:
    """`written` is each timestamp as the source has it; `score` is finite and between 0 and 1 in every row."""

    name: str
    timestamps: FloatArray
    written: list[str]
    values: FloatArray
    scores: "Scores"
    score: FloatArray

    @property
    def is_trouble(self) -> "NDArray[np.bool_]":
        codes = [code for code, kind in enumerate(VERDICTS) if kind in TROUBLE]
        return np.isin(self.scores.verdict, codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one series; `error` is set where nothing was written."""

    source: str
    written_to: Path
    rows: int = 0
    anomalous: int = 0
    episodes: int = 0
    no_data: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""


def judge_series(
    name: str, timestamps: FloatArray, written: list[str], values: FloatArray, *, step: timedelta | None = None
) -> ScoredSeries:
    """Score every row on the rows before it."""
    scores = score_series(timestamps, values, step=step)
    score = np.clip(np.nan_to_num(np.asarray(scores.score, dtype=np.float64), nan=0.0), 0.0, 1.0)
    return ScoredSeries(
        name=name, timestamps=timestamps, written=written, values=values, scores=scores, score=score
    )  # fmt: skip


def score_file(path: Path, folder: Path, with_plot: bool) -> Outcome:
    """Read, score and write one file; what is wrong with it is in the outcome. Runs in a worker process too."""
    target = folder / f"{path.stem}.csv"
    try:
        history = read_history(path)
        series = judge_series(path.stem, history.timestamps, history.written, history.values)
        write(series, folder, with_plot)
    except (QuellError, OSError, MemoryError) as error:
        return Outcome(source=str(path), written_to=target, error=str(error) or type(error).__name__)
    return outcome_of(series, str(path), target, history.warnings)


def outcome_of(series: ScoredSeries, source: str, target: Path, warnings: tuple[str, ...] = ()) -> Outcome:
    trouble, verdict = series.is_trouble, series.scores.verdict
    return Outcome(
        source=source,
        written_to=target,
        rows=len(trouble),
        anomalous=int(np.count_nonzero(trouble)),
        episodes=int(np.count_nonzero(np.diff(trouble.astype(np.int8), prepend=0) == 1)),
        no_data=int(np.count_nonzero(verdict == VERDICTS.index(VerdictKind.NO_DATA))),
        warnings=warnings,
    )


def write(series: ScoredSeries, folder: Path, with_plot: bool) -> None:
    """The CSV and, on request, the page; each appears whole or not at all."""
    _replace(folder / f"{series.name}.csv", lambda path: _write_csv(series, path))
    if with_plot:
        from deployments.cli.score_plot import page

        text = page(series)
        _replace(folder / f"{series.name}.html", lambda path: path.write_text(text, encoding="utf-8"))


def _write_csv(series: ScoredSeries, path: Path) -> None:
    scores = series.scores
    verdict = np.array(DECISIONS, dtype=object)[scores.verdict]
    table = pa.table(
        {
            "timestamp": pa.array(series.written, type=pa.string()),
            "value": _numbers(series.values),
            "expected": _numbers(scores.expected),
            "lower": _numbers(scores.lower),
            "upper": _numbers(scores.upper),
            "anomaly_score": pa.array(series.score),
            "verdict": pa.array(verdict, type=pa.string()),
        }
    )
    # Nothing here needs quotes: a timestamp that was understood holds neither comma nor quote.
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write((",".join(table.column_names) + "\n").encode())
        pyarrow.csv.write_csv(table, file, options)


def _numbers(values: FloatArray) -> pa.Array:
    """Empty where there is no number, or no limit."""
    column = np.asarray(values, dtype=np.float64)
    return pa.array(column, mask=~np.isfinite(column))


def _replace(target: Path, write_to: Callable[[Path], object]) -> None:
    """Write beside the target, then rename: a reader sees the old file or the whole new one."""
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:80]}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write_to(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
