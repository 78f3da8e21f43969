"""The detector on the files of a data set, in two processes, with the time that scoring itself took."""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from benchmarks.delay_score import LabelledSeries
from benchmarks.nab_score import ScoredFile
from benchmarks.report import stop
from quell.adapters.metrics.history_file import read_history
from quell.detection.scoring import score_series
from quell.incidents.series import FloatArray

PROCESSES = 2
WINDOWS = Path("labels") / "combined_windows.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSeries:
    timestamps: FloatArray
    values: FloatArray
    score: FloatArray
    seconds: float  # of scoring alone, on one core


def score_path(path: Path) -> ScoredSeries:
    history = read_history(path)
    start = perf_counter()
    score = score_series(history.timestamps, history.values).score
    return ScoredSeries(
        timestamps=history.timestamps, values=history.values, score=score, seconds=perf_counter() - start
    )


def score_paths(paths: Sequence[Path]) -> list[ScoredSeries]:
    """In the order of the paths; compilation is not in the times."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=warm_up) as pool:
        return list(pool.map(score_path, paths))


def warm_up() -> None:
    score_series(np.arange(300.0) * 60.0, np.sin(np.arange(300.0)))


def rows_per_second(scored: Sequence[ScoredSeries]) -> float:
    return sum(len(one.score) for one in scored) / sum(one.seconds for one in scored)


def nab_keys(folder: Path) -> dict[str, tuple[tuple[float, float], ...]]:
    """The windows of each file of NAB, as epoch seconds."""
    if not (folder / WINDOWS).is_file():
        stop(f"{folder} has no {WINDOWS}: --data is the folder with data/ and labels/")
    windows = json.loads((folder / WINDOWS).read_text())
    return {key: tuple((_epoch(begin), _epoch(end)) for begin, end in pairs) for key, pairs in windows.items()}


def _epoch(text: str) -> float:
    return float(pd.Timestamp(text, tz="UTC").timestamp())


def score_nab(folder: Path) -> tuple[list[ScoredFile], float]:
    """All files of NAB with their scores, and rows per second on one core."""
    windows = nab_keys(folder)
    scored = score_paths([folder / "data" / key for key in windows])
    files = [
        ScoredFile(key=key, timestamps=one.timestamps, windows=windows[key], score=one.score)
        for key, one in zip(windows, scored, strict=True)
    ]
    return files, rows_per_second(scored)


def labelled_paths(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".parquet", ".csv")) if folder.is_dir() else []
    if not paths:
        stop(f"{folder} has no .parquet or .csv files: --data is the folder with one file per series")
    return paths


def read_labels(path: Path) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if "label" not in table.columns:
        stop(f"{path} has no column 'label'")
    return table["label"].to_numpy() != 0


def labelled(path: Path, timestamps: FloatArray, score: FloatArray) -> LabelledSeries:
    step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else 0.0
    return LabelledSeries(name=path.stem, step_seconds=step, labels=read_labels(path), score=score)


def score_labelled(folder: Path) -> tuple[list[LabelledSeries], float]:
    """All labelled series of a folder with their scores, and rows per second on one core."""
    paths = labelled_paths(folder)
    scored = score_paths(paths)
    series = [labelled(path, one.timestamps, one.score) for path, one in zip(paths, scored, strict=True)]
    return series, rows_per_second(scored)
