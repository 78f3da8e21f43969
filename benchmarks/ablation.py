"""What each view contributes: the detector with one view left out at a time, and with each kind of evidence alone.

NAB standard at the best threshold and at 0.5, F1 of the benchmark `kpi` at the best threshold and at 0.5, and false
episodes per series-week at 0.5. DIR holds nab/ and kpi/. Each variant compiles anew, in a process of its own.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.delay_score import best_f1, score_at
from benchmarks.measured import measure_in_child
from benchmarks.nab_score import PROFILES, ScoredFile, rank
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.scored_files import labelled, labelled_paths, nab_keys, score_path
from quell.detection import streams

WHOLE, RECORD_ONLY, LOCAL_ONLY = "whole detector", "record evidence only", "local evidence only"
COLUMNS = ("nab_best", "nab_at_0.5", "f1_best", "f1_at_0.5", "false_episodes_per_week")


def main() -> None:
    parser = data_parser(__doc__)
    parser.add_argument("--child", help="measure one variant here")
    arguments = parser.parse_args()
    if arguments.child:
        leave_out(arguments.child)
        print_json(measure(arguments.data))
        return
    variants = [WHOLE, RECORD_ONLY, LOCAL_ONLY, *(f"without {view}" for view in streams.VIEWS[1:])]
    found: dict[str, Any] = {}
    for variant in variants:
        # Compiled code has the choice of views in it, and must not be taken for that of another variant.
        with tempfile.TemporaryDirectory() as cache:
            os.environ["NUMBA_CACHE_DIR"] = cache
            found[variant] = measure_in_child("benchmarks.ablation", "--data", str(arguments.data), "--child", variant)
        print(variant, found[variant], file=sys.stderr, flush=True)
    if arguments.json:
        print_json(found)
        return
    print_table("Ablation", ("variant", *COLUMNS), [(name, *(one[c] for c in COLUMNS)) for name, one in found.items()])


def leave_out(variant: str) -> None:
    """Before anything is compiled; a stream without evidence is still followed, but never speaks."""
    if variant == RECORD_ONLY:
        streams.IS_LOCAL[:] = False
    elif variant == LOCAL_ONLY:
        streams.IS_RECORD[:] = False
    elif variant != WHOLE:
        view = streams.VIEWS.index(variant.removeprefix("without "))
        streams.IS_LOCAL[view == streams.VIEW_OF] = False
        streams.IS_RECORD[view == streams.VIEW_OF] = False


def measure(folder: Path) -> dict[str, float | None]:
    windows = nab_keys(folder / "nab")
    files: list[ScoredFile] = []
    for key in windows:
        one = score_path(folder / "nab" / "data" / key)
        files.append(ScoredFile(key=key, timestamps=one.timestamps, windows=windows[key], score=one.score))
    ranking = rank(files)
    series = []
    for path in labelled_paths(folder / "kpi"):
        one = score_path(path)
        series.append(labelled(path, one.timestamps, one.score))
    best, fixed = best_f1(series), score_at(series, 0.5)
    return {
        "nab_best": ranking.score(PROFILES["standard"]).score,
        "nab_at_0.5": ranking.score(PROFILES["standard"], 0.5).score,
        "f1_best": best[0] if best else None,
        "f1_at_0.5": fixed.f1,
        "false_episodes_per_week": fixed.false_episodes_per_series_week,
    }


if __name__ == "__main__":
    main()
