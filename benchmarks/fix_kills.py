"""kill -9 of fixes: git, what runs, HAProxy and the record must agree afterwards; and how far a bad fix gets.

`python -m benchmarks.fix_kills [--times N] [--seed N] [--store URL] [--canaries N] [--json]`

N random sequences (default 50): a person commits a bad value, Quell fixes it, the fix is promoted, is bad, gets no
verdict or is taken back; up to three processes are killed on the way, and a person commits to the same branch or
releases the containment meanwhile. Killed is before, after and in the middle of commands, see benchmarks/fix_victim.py.
Within the reconciliation passes of a minute everything must agree, see benchmarks/fix_faults.py; "equal" counts the
sequences in which nothing was found.

Then N bad fixes (default 10) under real traffic: see benchmarks/fix_exposure.py.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

from benchmarks.fix_exposure import expose
from benchmarks.fix_faults import Sequence
from benchmarks.fix_ground import ground_of
from benchmarks.fix_sequences import KINDS, Sequences
from benchmarks.report import cell, parser, print_json, print_table


def run(times: int, seed: int, store: str | None = None) -> tuple[dict[str, Any], list[Sequence]]:
    with tempfile.TemporaryDirectory(prefix="quell-fix-kills-") as name:
        folder = Path(name)
        with ground_of(store or f"sqlite:///{folder}/quell.db", folder / "ground") as ground:
            sequences = Sequences(ground, seed)
            done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(times)]
    return figures(done, sequences.boundaries, seed), done


def figures(done: Many[Sequence], boundaries: set[str], seed: int) -> dict[str, Any]:
    kinds = Counter(fault.partition(":")[0] for one in done for fault in one.faults)
    settled = [one.settled_s for one in done if one.settled_s is not None]
    return {
        "seed": seed,
        "sequences": len(done),
        "kills": sum(len(one.kills) for one in done),
        "boundaries": len(boundaries),
        "people_acted": sum(one.acted for one in done),
        "equal": sum(not one.faults for one in done),
        "settled_within_60_s": len(settled),
        "worst_settled_s": max(settled, default=None),
        "faults": dict(kinds),
        "stories": [f"{one.story}: {'; '.join(one.faults)}" for one in done if one.faults],
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--times", type=int, default=50)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--store", metavar="URL", help="default: a SQLite database of its own")
    asked.add_argument("--canaries", type=int, default=10, help="bad fixes under traffic")
    options: argparse.Namespace = asked.parse_args()
    found, _ = run(options.times, options.seed, options.store)
    exposed = exposure(options.canaries) if options.canaries else {}
    if options.json:
        print_json({"kills": found, "exposure": exposed})
        return
    _show("fixes and kill -9", found)
    for story in found["stories"]:
        print(story)
    if exposed:
        _show("bad fixes at the canary", exposed)


def exposure(canaries: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quell-fix-exposure-") as name:
        return expose(canaries, Path(name))


def _show(title: str, found: dict[str, Any]) -> None:
    rows = [(name.replace("_", " "), cell(value)) for name, value in found.items() if name != "stories"]
    print_table(title, ("figure", "value"), rows)


if __name__ == "__main__":
    main()
