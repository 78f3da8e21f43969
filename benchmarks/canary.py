"""The canary's judge on A/A and A/B runs, beside other judges.

`python -m benchmarks.canary [--data DIR] [--trials N] [--jobs N] [--seed N] [--json]`

The runs in `benchmarks/canary_runs` were recorded behind a real HAProxy (`benchmarks.canary_recording` makes new ones).
Each trial draws whole seconds of one run by lot, the same for both sides, and shows them to the judge as they would
come, look by look, each with a tenth more requests than the one before, until it has a verdict or the requests are used
up. `injected` regressions are put into the canary's drawn values: all latencies 10 % higher, only the slowest twentieth
stretched until p99 is 10 % higher, or one request in a hundred more that fails. In `real` ones the service itself was
worse while it was recorded; a recording that shows less than what must be caught stands apart (`smaller`). Heavy-tailed
laws come beside, since a recording has only the tail that it has.

`right` is promoted for A/A and reverted for A/B; `not promoted` counts inconclusive ends as well. The other judges
see the very requests on which ours gave its verdict: they have no rule of their own for how many they need. The second
table gives all a fixed number of requests and one look; the third the runs as they were recorded, once.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.canary_cases import Case, Traffic, blocks_of, cases_of, join
from benchmarks.canary_judges import kayenta_fails, ratio_of_means_fails, thresholds_fail
from benchmarks.canary_recording import Run, load
from benchmarks.report import parser, print_json, print_table, stop
from quell.resolution.canary import THOROUGH, CanaryResult, CanaryVerdict, Sample, judge_canary, requests_needed
from quell.resolution.look import is_due

RUNS = Path(__file__).with_name("canary_runs")
PEERS: dict[str, Callable[[Traffic, Traffic], bool]] = {
    "kayenta": kayenta_fails,
    "ratio_of_means": ratio_of_means_fails,
    "thresholds": thresholds_fail,
}
KINDS = ("A/A", "A/B injected", "A/B real", "A/B smaller")
_FIRST = 500
FIXED = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000)


def watch(canary: Traffic, control: Traffic, most: int) -> tuple[int, CanaryResult]:
    """Look after look, as `tasks.canary` does it: the requests at the verdict, and the verdict."""
    seen, before = _FIRST, None
    while True:
        now = sample(canary, seen)
        if is_due(now, before) or seen >= most:
            result = judge_canary(now, sample(control, seen), THOROUGH)
            if result.verdict is not CanaryVerdict.INCONCLUSIVE or seen >= most:
                return seen, result
            before = now
        seen = min(seen + max(seen // 50, 1), most)


def sample(side: Traffic, requests: int) -> Sample:
    return Sample(
        requests=requests, errors=int(side.failed[:requests].sum()), latencies=cast(Any, side.seconds[:requests])
    )


def first(side: Traffic, requests: int) -> Traffic:
    return Traffic(seconds=side.seconds[:requests], failed=side.failed[:requests])


def try_case(case: Case, seed: int, trials: int) -> dict[str, Any]:
    verdicts, requests = Counter[str](), list[int]()
    caught = Counter[str]()
    for trial in range(trials):
        canary, control = case.draw(np.random.default_rng((seed, trial)), case.most)
        seen, result = watch(canary, control, min(case.most, len(canary.seconds), len(control.seconds)))
        verdicts[result.verdict] += 1
        requests.append(seen)
        for name, fails in PEERS.items():
            caught[name] += fails(first(canary, seen), first(control, seen)) is (case.kind != "A/A")
    wanted = CanaryVerdict.PROMOTE if case.kind == "A/A" else CanaryVerdict.REVERT
    return {
        "case": case.name,
        "kind": case.kind,
        "change": case.change,
        "trials": trials,
        **{verdict.value: verdicts[verdict] / trials for verdict in CanaryVerdict},
        "right": verdicts[wanted] / trials,
        "not_promoted": 1 - verdicts[CanaryVerdict.PROMOTE] / trials,
        "requests_median": int(np.median(requests)),
        "requests_p95": int(np.quantile(requests, 0.95)),
        **{f"{name}_right": count / trials for name, count in caught.items()},
    }


def try_fixed(case: Case, seed: int, trials: int) -> list[dict[str, Any]]:
    """One look at a fixed number of requests."""
    wanted = CanaryVerdict.PROMOTE if case.kind == "A/A" else CanaryVerdict.REVERT
    rows = [Counter[str]() for _ in FIXED]
    for trial in range(trials):
        canary, control = case.draw(np.random.default_rng((seed, trial)), FIXED[-1])
        for requests, row in zip(FIXED, rows, strict=True):
            verdict = judge_canary(sample(canary, requests), sample(control, requests), THOROUGH).verdict
            row["right"] += verdict is wanted
            row["wrong"] += verdict is not wanted and verdict is not CanaryVerdict.INCONCLUSIVE
            for name, fails in PEERS.items():
                row[f"{name}_right"] += fails(first(canary, requests), first(control, requests)) is (case.kind != "A/A")
    names = ("right", "wrong", *(f"{name}_right" for name in PEERS))
    return [
        {"case": case.name, "kind": case.kind, "change": case.change, "requests": requests}
        | {name: row[name] / trials for name in names}
        for requests, row in zip(FIXED, rows, strict=True)
    ]


def as_recorded(run: Run) -> dict[str, Any]:
    """The run as it was, once; beside the verdict what the whole of it shows."""
    canary, control = (join(blocks_of(run, canary=flag)) for flag in (True, False))
    mine, usual = (float(np.quantile(side.seconds, 0.99)) for side in (canary, control))
    seen, result = watch(canary, control, min(len(canary.seconds), len(control.seconds)))
    return {
        "run": run.name,
        "verdict": result.verdict.value,
        "requests": seen,
        "missing": result.missing,
        "p99_change": mine / usual - 1,
        "more_errors": float(canary.failed.mean() - control.failed.mean()),
        "reason": result.reason,
    }


def run(runs: list[Run], trials: int, jobs: int, seed: int) -> dict[str, Any]:
    cases = cases_of(runs)
    wanted = [case for case in cases if case.name == "service" and case.kind in ("A/A", "A/B injected")]
    with ProcessPoolExecutor(jobs, initializer=_take, initargs=(runs,)) as pool:
        tried = [pool.submit(_try_case, place, seed, trials) for place in range(len(cases))]
        fixed = [pool.submit(_try_fixed, cases.index(case), seed, max(trials // 2, 1)) for case in wanted]
        rows = [job.result() for job in tried]
        by_number = [row for job in fixed for row in job.result()]
    groups = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS}
    means = {
        kind: {name: float(np.mean([row[name] for row in group])) for name in ("right", "not_promoted", *_peer_names())}
        for kind, group in groups.items()
        if group
    }
    worse = [row for row in rows if row["kind"] in ("A/B injected", "A/B real")]
    return {
        "aa_promoted": means["A/A"]["right"],
        "ab_caught": float(np.mean([row["right"] for row in worse])),
        "ab_not_promoted": float(np.mean([row["not_promoted"] for row in worse])),
        "aa_promoted_least": min(row["right"] for row in groups["A/A"]),
        "ab_caught_least": min(row["right"] for row in worse),
        "requests_planned": {
            "errors": requests_needed(replace(THOROUGH, p99_margin=None), error_ratio=0.01),
            "p99, exponential tail": requests_needed(THOROUGH),
            "p99, lognormal tail, sigma 1": requests_needed(THOROUGH, slope=0.0267),
            "p99, Pareto tail, alpha 2.5": requests_needed(THOROUGH, slope=0.025),
        },
        "means": means,
        "cases": rows,
        "by_number": by_number,
        "as_recorded": [as_recorded(run) for run in runs],
    }


_cases: list[Case] = []


def _take(runs: list[Run]) -> None:
    _cases[:] = cases_of(runs)


def _try_case(place: int, seed: int, trials: int) -> dict[str, Any]:
    return try_case(_cases[place], seed, trials)


def _try_fixed(place: int, seed: int, trials: int) -> list[dict[str, Any]]:
    return try_fixed(_cases[place], seed, trials)


def _peer_names() -> tuple[str, ...]:
    return tuple(f"{name}_right" for name in PEERS)


def show(figures: dict[str, Any]) -> None:
    names = ("right", "not_promoted", "inconclusive", "requests_median", "requests_p95", *_peer_names())
    columns = ("case", "right", "not promoted", "inconclusive", "requests", "p95", "Kayenta", "means 1.1", "thresholds")
    for kind, title in (
        ("A/A", "A/A: promoted"),
        ("A/B injected", "A/B, injected: reverted"),
        ("A/B real", "A/B, real: reverted"),
        ("A/B smaller", "A/B, real, less than what must be caught: reverted"),
    ):
        rows = [row for row in figures["cases"] if row["kind"] == kind]
        if rows:
            cells = [(f"{row['case']}: {row['change']}", *(row[name] for name in names)) for row in rows]
            print_table(f"{title}, share of {rows[0]['trials']} trials", columns, cells)
    names = ("requests", "right", "wrong", *_peer_names())
    cells = [(f"{row['kind']}: {row['change']}", *(row[name] for name in names)) for row in figures["by_number"]]
    columns = ("service", "requests", "right", "wrong", "Kayenta", "means 1.1", "thresholds")
    print_table("One look at a fixed number of requests a side", columns, cells)
    names = ("run", "verdict", "requests", "missing", "p99_change", "more_errors")
    print_table("As recorded, once", names, [tuple(row[name] for name in names) for row in figures["as_recorded"]])
    for row in figures["as_recorded"]:
        print(f"{row['run']}: {row['reason']}")
    planned = ", ".join(f"{name} {number:,}" for name, number in figures["requests_planned"].items())
    print(f"\nrequests a side that the policy asks for before anything is measured: {planned}")
    print(f"A/A promoted {figures['aa_promoted']:.1%} (least {figures['aa_promoted_least']:.1%}), ", end="")
    print(f"A/B reverted {figures['ab_caught']:.1%} (least {figures['ab_caught_least']:.1%}), ", end="")
    print(f"not promoted {figures['ab_not_promoted']:.1%}")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, default=RUNS, metavar="DIR", help="folder of recorded runs")
    arguments.add_argument("--trials", type=int, default=200, help="of each case")
    arguments.add_argument("--jobs", type=int, default=2, help="processes")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    runs = load(given.data)
    if not runs:
        stop(f"{given.data} holds no recorded runs (*.parquet); python -m benchmarks.canary_recording {given.data}")
    figures = run(runs, given.trials, given.jobs, given.seed)
    if given.json:
        print_json(figures)
    else:
        show(figures)


if __name__ == "__main__":
    main()
