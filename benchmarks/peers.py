"""Quell's detector beside others, on the same rows in the same run, each on one core: score and rows per second.

Subset: every fourth file of NAB (DIR/nab) and every sixth labelled series (DIR/kpi); --whole takes everything. NAB is
the standard profile, F1 that of the benchmark `kpi`, both at each detector's own best threshold. The others run in a
virtual environment of their own, made at first use with our versions of numpy, pandas and scipy; what does not install
is named.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import peer_detectors
from benchmarks.delay_score import LabelledSeries, best_f1
from benchmarks.nab_score import PROFILES, ScoredFile, rank
from benchmarks.report import data_parser, print_json, print_table, stop
from benchmarks.scored_files import labelled_paths, nab_keys, read_labels, warm_up
from quell.adapters.metrics.history_file import read_history
from quell.detection.scoring import score_series
from quell.incidents.series import FloatArray

PACKAGES = ("river", "adtk", "salesforce-merlion", "pyod", "statsforecast", "prophet")
PINNED = ("numpy", "pandas", "scipy", "pyarrow", "numba")
LOCK = Path(__file__).parent.parent / "requirements.lock"
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MOST_SECONDS = 900.0
NAB_EVERY, KPI_EVERY = 4, 6


class Subset:
    """The rows that every detector gets, and what their scores are worth."""

    def __init__(self, folder: Path, *, whole: bool) -> None:
        nab, kpi = folder / "nab", folder / "kpi"
        if not nab.is_dir() or not kpi.is_dir():
            stop(f"{folder} lacks nab or kpi: --data is the folder that holds both")
        self.windows = dict(list(nab_keys(nab).items())[:: 1 if whole else NAB_EVERY])
        self.nab = [read_history(nab / "data" / key) for key in self.windows]
        self.kpi_paths = labelled_paths(kpi)[:: 1 if whole else KPI_EVERY]
        self.kpi = [read_history(path) for path in self.kpi_paths]
        self.labels = [read_labels(path) for path in self.kpi_paths]

    @property
    def series(self) -> list[tuple[FloatArray, FloatArray]]:
        return [(one.timestamps, one.values) for one in (*self.nab, *self.kpi)]

    @property
    def rows(self) -> int:
        return sum(len(values) for _, values in self.series)

    def figures(self, scores: Sequence[FloatArray], seconds: float) -> dict[str, float | None]:
        files = [
            ScoredFile(key=key, timestamps=one.timestamps, windows=self.windows[key], score=score)
            for key, one, score in zip(self.windows, self.nab, scores, strict=False)
        ]
        series = [
            LabelledSeries(name=path.stem, step_seconds=60.0, labels=labels, score=score)
            for path, labels, score in zip(self.kpi_paths, self.labels, scores[len(files) :], strict=True)
        ]
        best = best_f1(series)
        return {
            "nab_standard": rank(files).score(PROFILES["standard"]).score,
            "kpi_best_f1": best[0] if best else None,
            "rows_per_second": self.rows / seconds,
        }


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--whole", action="store_true", help="all rows of both data sets; takes half an hour")
    parser.add_argument("--env", type=Path, default=Path(".quell/peers"), help="the peers' virtual environment")
    arguments = parser.parse_args()
    subset = Subset(arguments.data, whole=arguments.whole)
    absent = {} if (arguments.env / "bin" / "python").exists() else install(arguments.env)
    found: dict[str, Any] = {"Quell": _score_with_quell(subset)}
    for name in peer_detectors.DETECTORS:
        said(f"running {name}")
        found[name] = run_peer(arguments.env, name, subset)
    figures: dict[str, Any] = {
        "rows": subset.rows,
        "nab_files": len(subset.nab),
        "kpi_series": len(subset.kpi),
        "detectors": found,
        "not_installed": absent,
    }
    print_json(figures) if arguments.json else _show(figures)


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _score_with_quell(subset: Subset) -> dict[str, float | None]:
    warm_up()
    start = perf_counter()
    scores = [score_series(timestamps, values).score for timestamps, values in subset.series]
    return subset.figures(scores, perf_counter() - start)


def install(env: Path) -> dict[str, str]:
    """Make the environment; returns what did not install, with the last words of pip."""
    said(f"installing the peers into {env}, once")
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    pins = [
        line.split()[0] for line in LOCK.read_text().splitlines() if line.split("==")[0] in PINNED
    ]  # name==version lines; the rest of the lock is indented
    constraints = env / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    absent: dict[str, str] = {}
    for package in PACKAGES:
        said(f"installing {package}")
        command = [
            str(env / "bin" / "pip"),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            str(constraints),
        ]
        done = subprocess.run([*command, package], capture_output=True, text=True)
        if done.returncode:
            absent[package] = (done.stderr.strip().splitlines() or ["unknown"])[-1]
    return absent


def run_peer(env: Path, name: str, subset: Subset) -> dict[str, Any]:
    """Its figures, or the reason why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        arrays: dict[str, Any] = {}
        for number, (timestamps, values) in enumerate(subset.series):
            arrays |= {f"times_{number}": timestamps, f"values_{number}": values}
        np.savez(source, **arrays)
        python = env.absolute() / "bin" / "python"
        command = [str(python), str(Path(peer_detectors.__file__)), name, str(source), str(target)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, **ONE_CORE}, timeout=MOST_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"error": f"more than {MOST_SECONDS:.0f} s"}
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["unknown"])[-1]}
        with np.load(target) as out:
            scores = [out[f"score_{number}"] for number in range(len(subset.series))]
            return subset.figures(scores, float(out["seconds"]))


def _show(figures: dict[str, Any]) -> None:
    rows = [
        (
            name,
            one.get("nab_standard"),
            one.get("kpi_best_f1"),
            round(one.get("rows_per_second", 0)) or one.get("error"),
        )
        for name, one in figures["detectors"].items()
    ]
    title = f"{figures['rows']:,} rows of {figures['nab_files']} NAB files and {figures['kpi_series']} KPI series"
    print_table(title, ("detector", "NAB standard", "KPI best F1", "rows/s, one core"), rows)
    for package, why in figures["not_installed"].items():
        print(f"{package} does not install: {why}")


if __name__ == "__main__":
    main()
