"""Suspects: is the component at the root first, on PetShop and Nezha; who is named when nothing is wrong; time.

DIR holds the folders petshop and nezha. --out writes the rankings as one JSON object a line, the input of the public
scorer of top-k recall; the figures here are computed the same way. The method was developed while looking at these same
cases: the figures are in-sample.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_rankings import PEERS
from benchmarks.report import data_parser, print_json, print_table
from benchmarks.rootcause_cases import Case, nezha, nezha_quiet, petshop, petshop_quiet, read_nezha
from quell.triage.rootcause.ranking import rank_nodes
from quell.triage.rootcause.window import Window

DEPTH = 5
QUIET, SEED = 200, 4
SIZES = (100, 1_000, 10_000)
WAYS = {True: "with call latencies", False: "without call latencies"}


def main() -> None:
    made = data_parser(__doc__)
    made.add_argument("--out", type=Path, metavar="CASES.jsonl", help="write the rankings for the public scorer")
    arguments = made.parse_args()
    sets = {"petshop": petshop(arguments.data / "petshop")}
    day = read_nezha(arguments.data / "nezha")
    days = {True: day, False: day.without_call_latencies()}
    for with_calls, one in days.items():
        sets[f"nezha {WAYS[with_calls]}"] = nezha(one)
    ranked = {name: [(case, quell(case)) for case in cases] for name, cases in sets.items()}
    figures: dict[str, Any] = {"groups": _groups(ranked)}
    figures["peers"] = {
        name: {"Quell": _summary(ranked[name])}
        | {peer: _summary([(c, rank(c)) for c in cases]) for peer, rank in PEERS.items()}
        for name, cases in sets.items()
    }
    figures["other_inputs"] = {name: _other_inputs(cases) for name, cases in sets.items()}
    for with_calls, one in days.items():
        figures["other_inputs"][f"nezha {WAYS[with_calls]}"] |= _other_windows(one)
    figures["silent_on_quiet_windows"] = _silent(arguments.data, days)
    figures["seconds_by_components"] = {str(size): _seconds(size) for size in SIZES}
    if arguments.out:
        _write(arguments.out, ranked)
    if arguments.json:
        print_json(figures)
    else:
        _show(figures)


def quell(case: Case) -> list[str]:
    found = rank_nodes(case.normal, case.abnormal, calls=case.calls, target=case.target)
    return [suspect.node for suspect in found]


Ranked = Sequence[tuple[Case, list[str]]]


def _summary(ranked: Ranked) -> dict[str, float]:
    """As the public scorer: share of cases with an acceptable node among the first k."""
    depths = [
        next((place for place, node in enumerate(found[:DEPTH]) if node in case.truth), DEPTH) for case, found in ranked
    ]
    recall = [sum(depth < k for depth in depths) / len(depths) for k in range(1, DEPTH + 1)]
    return {"cases": len(depths), "top1": recall[0], "top3": recall[2], "top5": recall[4], "avg5": sum(recall) / DEPTH}


def _groups(ranked: dict[str, Ranked]) -> dict[str, dict[str, float]]:
    made: dict[str, dict[str, float]] = {}
    for name, cases in ranked.items():
        for group in sorted({case.group for case, _ in cases}):
            told = group if name == "petshop" else f"{group} {name.removeprefix('nezha ')}"
            made[told] = _summary([pair for pair in cases if pair[0].group == group])
        made[f"{name}, all"] = _summary(cases)
    return made


def _other_inputs(cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    random = np.random.default_rng(SEED)
    changed: dict[str, Callable[[Case], Case]] = {
        "no target": lambda case: replace(case, target=None),
        "no graph": lambda case: replace(case, calls=()),
        "neither": lambda case: replace(case, target=None, calls=()),
        "half of the graph": lambda case: replace(case, calls=tuple(c for c in case.calls if random.random() < 0.5)),
        "30 % of values missing": lambda case: replace(
            case, normal=_with_gaps(case.normal, random), abnormal=_with_gaps(case.abnormal, random)
        ),
        "onset one row early": lambda case: replace(case, abnormal=_one_row_early(case)),
        "requests x 3": lambda case: replace(case, abnormal=_three_times_requests(case.abnormal)),
        "no request counts": lambda case: replace(case, abnormal=_without_requests(case.abnormal)),
    }
    return {name: _summary([(case, quell(change(case))) for case in cases]) for name, change in changed.items()}


def _other_windows(day: Any) -> dict[str, dict[str, float]]:
    return {
        "onset one minute late": _summary([(case, quell(case)) for case in nezha(day, late=1)]),
        "30 rows before, earlier faults in them": _summary(
            [(case, quell(case)) for case in nezha(day, rows=30, known_faults=False)]
        ),
    }


def _with_gaps(window: Window, random: np.random.Generator) -> Window:
    return replace(window, values=np.where(random.random(window.values.shape) < 0.3, np.nan, window.values))


def _one_row_early(case: Case) -> Window:
    """The last normal row counts as abnormal."""
    place = {column: i for i, column in enumerate(case.normal.columns)}
    last = [case.normal.values[-1, place[c]] if c in place else np.nan for c in case.abnormal.columns]
    return replace(case.abnormal, values=np.vstack((last, case.abnormal.values)))


def _is_requests(metric: str) -> bool:
    return "requests" in metric.lower() or "workload" in metric.lower()


def _three_times_requests(window: Window) -> Window:
    factor = np.array([3.0 if _is_requests(metric) else 1.0 for _, metric in window.columns])
    return replace(window, values=window.values * factor)


def _without_requests(window: Window) -> Window:
    kept = [place for place, (_, metric) in enumerate(window.columns) if not _is_requests(metric)]
    return Window(columns=tuple(window.columns[place] for place in kept), values=window.values[:, kept])


def _silent(data: Path, days: dict[bool, Any]) -> dict[str, dict[str, float]]:
    made: dict[str, dict[str, float]] = {}
    for name, cases in (
        ("petshop", list(petshop_quiet(data / "petshop", QUIET, SEED))),
        *((f"nezha {WAYS[w]}", list(nezha_quiet(day, QUIET, SEED))) for w, day in days.items()),
        *(
            (f"nezha {WAYS[w]}, 30 rows before", list(nezha_quiet(day, QUIET, SEED, rows=30)))
            for w, day in days.items()
        ),
    ):
        made[name] = {
            "windows": len(cases),
            "target given": sum(not quell(case) for case in cases) / len(cases),
            "no target": sum(not quell(replace(case, target=None)) for case in cases) / len(cases),
        }
    return made


def _seconds(size: int) -> dict[str, float]:
    """A made-up system: each node called by one other, four metrics each, one slow leaf; 200 rows before, 10 now."""
    random = np.random.default_rng(SEED)
    columns = tuple((f"n{i}", m) for i in range(size) for m in ("requests", "latency_avg", "cpu", "availability"))
    level = np.tile([100.0, 0.02, 0.3, 1.0], size)
    before = level * np.exp(random.normal(0, 0.05, (200, len(columns))))
    now = level * np.exp(random.normal(0, 0.05, (10, len(columns))))
    now[:, 4 * (size - 1) + 1] *= 5
    calls = tuple((f"n{(i - 1) // 3}", f"n{i}") for i in range(1, size))
    begun = time.perf_counter()
    rank_nodes(
        Window(columns=columns, values=before), Window(columns=columns, values=now), calls=calls,
        target=("n0", "latency_avg"),
    )  # fmt: skip
    return {"metrics": len(columns), "seconds": time.perf_counter() - begun}


def _write(file: Path, ranked: dict[str, Ranked]) -> None:
    lines: list[str] = []
    for name, cases in ranked.items():
        for case, found in cases:
            group = case.group if name == "petshop" else f"{case.group} {name.removeprefix('nezha ')}"
            row = {"case": f"{name} {case.name}", "truth": list(case.truth), "ranking": found, "group": group}
            lines.append(json.dumps(row))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _show(figures: dict[str, Any]) -> None:
    recall = ("cases", "top1", "top3", "top5", "avg5")
    print_table("Root cause found (in-sample)", ("group", *recall), _rows(figures["groups"], recall))
    for name, found in figures["peers"].items():
        print_table(f"Peers, {name}", ("method", *recall), _rows(found, recall))
    for name, found in figures["other_inputs"].items():
        print_table(f"Other inputs, {name}", ("input", "top1", "top3"), _rows(found, ("top1", "top3")))
    quiet = ("windows", "target given", "no target")
    print_table("Nobody named on normal periods", ("data", *quiet), _rows(figures["silent_on_quiet_windows"], quiet))
    size = ("metrics", "seconds")
    print_table("Time", ("components", *size), _rows(figures["seconds_by_components"], size))


def _rows(found: dict[str, dict[str, Any]], columns: Iterable[str]) -> list[tuple[Any, ...]]:
    return [(name, *(one[column] for column in columns)) for name, one in found.items()]


if __name__ == "__main__":
    main()
