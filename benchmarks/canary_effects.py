"""How small a regression the canary's judge tells: the share of canaries reverted, by the size of the regression.

`python -m benchmarks.canary_effects [--data DIR] [--trials N] [--jobs N] [--seed N] [--json]`

Regressions of several sizes are put into the recorded A/A runs of `benchmarks/canary_runs`, drawn and looked at as in
`benchmarks.canary`, under the `thorough` policy. What is neither reverted nor promoted has used up the requests.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.canary import RUNS, try_case
from benchmarks.canary_cases import Case, Traffic, drawn_from, worse
from benchmarks.canary_recording import Run, load
from benchmarks.report import parser, print_json, print_table, stop

SLOWER = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15)  # of p99, a share of it
ERRORS = (0.0025, 0.005, 0.0075, 0.01, 0.02)  # more of all requests
_MOST = 100_000  # requests of a side


def slower_by(share: float, canary: Traffic) -> Traffic:
    return replace(canary, seconds=canary.seconds * (1 + share))


def failing_by(share: float, canary: Traffic, rng: np.random.Generator) -> Traffic:
    return replace(canary, failed=canary.failed | (rng.random(len(canary.failed)) < share))


def cases_of(runs: list[Run]) -> list[Case]:
    found: list[Case] = []
    for run in (run for run in runs if run.name.endswith("-none")):
        origin, draw = run.name.partition("-")[0], drawn_from(run, is_aa=True)
        for share in SLOWER:
            changed = worse(draw, lambda canary, _rng, share=share: slower_by(share, canary))
            found.append(_case(origin, f"p99 {share:+.1%}", changed))
        for share in ERRORS:
            changed = worse(draw, lambda canary, rng, share=share: failing_by(share, canary, rng))
            found.append(_case(origin, f"errors {100 * share:+.2f} pp", changed))
    return found


def _case(name: str, change: str, draw: Any) -> Case:
    return Case(name=name, kind="A/B injected", change=change, most=_MOST, draw=draw)


_cases: list[Case] = []


def _take(runs: list[Run]) -> None:
    _cases[:] = cases_of(runs)


def _try(place: int, seed: int, trials: int) -> dict[str, Any]:
    row = try_case(_cases[place], seed, trials)
    return {
        "service": row["case"],
        "change": row["change"],
        "reverted": row["revert"],
        "promoted": row["promote"],
        "requests_median": row["requests_median"],
    }


def run(runs: list[Run], trials: int, jobs: int, seed: int) -> list[dict[str, Any]]:
    with ProcessPoolExecutor(jobs, initializer=_take, initargs=(runs,)) as pool:
        tried = [pool.submit(_try, place, seed, trials) for place in range(len(cases_of(runs)))]
        return [job.result() for job in tried]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, default=RUNS, metavar="DIR", help="folder of recorded runs")
    arguments.add_argument("--trials", type=int, default=50, help="of each size")
    arguments.add_argument("--jobs", type=int, default=2, help="processes")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    runs = load(given.data)
    if not runs:
        stop(f"{given.data} holds no recorded runs (*.parquet); python -m benchmarks.canary_recording {given.data}")
    rows = run(runs, given.trials, given.jobs, given.seed)
    if given.json:
        print_json({"trials": given.trials, "effects": rows})
        return
    names = ("service", "change", "reverted", "promoted", "requests_median")
    cells = [tuple(row[name] for name in names) for row in rows]
    print_table(f"How small a regression is told, {given.trials} trials each", names, cells)


if __name__ == "__main__":
    main()
