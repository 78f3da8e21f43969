"""kill -9 of fixes: git, what runs, HAProxy and the record must agree afterwards; and how far a bad fix gets.

`python -m benchmarks.fix_kills [--times N] [--seed N] [--store URL] [--canaries N] [--json]`
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

from benchmarks.fix_ground import ground_of
from benchmarks.fix_sequences import KINDS, PASSES, Sequence, Sequences
from benchmarks.report import parser, print_json, print_table


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
    options: argparse.Namespace = asked.parse_args()
    found, _ = run(options.times, options.seed, options.store)
    if options.json:
        print_json(found)
        return
    rows = [(name.replace("_", " "), str(value)) for name, value in found.items() if name != "stories"]
    print_table(f"fixes and kill -9, settled by {PASSES} s", ("figure", "value"), rows)
    for story in found["stories"]:
        print(story)


if __name__ == "__main__":
    main()
