"""kill -9 of fixes: git, what runs, HAProxy and the record must agree afterwards; and how far a bad fix gets.

`python -m benchmarks.fix_kills [--times N] [--seed N] [--remotes N] [--colours N] [--pilots N] [--store URL]
[--canaries N] [--json]`

N random sequences (default 50): a person commits a bad value, Quell fixes it, the fix is promoted, is bad, gets no
verdict or is taken back; up to three processes are killed on the way, and a person commits to the same branch or
releases the containment meanwhile. Killed is before, after and in the middle of commands, see benchmarks/fix_victim.py.
Within the reconciliation passes of a minute everything must agree, see benchmarks/fix_faults.py; "equal" counts the
sequences in which nothing was found.

The same with N sequences (default 20) of a branch that counts at a remote, a server of git's own; a person pushes there
too, and the branch must be the same in both places at the end. With N (default 20) of a service in two colours: see
benchmarks/colour_sequences.py. And with N (default 20) of a service whose instances all read one file: see
benchmarks/pilot_sequences.py.

Then N bad fixes (default 10) of each sort under real traffic: see benchmarks/fix_exposure.py.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

from benchmarks.colour_ground import colour_ground_of
from benchmarks.colour_sequences import ColourSequences
from benchmarks.fix_exposure import expose, expose_colours
from benchmarks.fix_faults import Sequence
from benchmarks.fix_ground import ground_of
from benchmarks.fix_sequences import KINDS, Sequences
from benchmarks.pilot_ground import pilot_ground_of
from benchmarks.pilot_sequences import PilotSequences
from benchmarks.report import cell, parser, print_json, print_table

_TITLES = {
    "kills": "fixes and kill -9",
    "remote_kills": "fixes of a branch that counts at a remote and kill -9",
    "colour_kills": "fixes of a service in two colours and kill -9",
    "pilot_kills": "fixes that one instance gets first and kill -9",
    "exposure": "bad fixes at the canary",
    "colour_exposure": "bad fixes on the idle colour",
}


def run(
    times: int, seed: int, store: str | None = None, *, has_remote: bool = False
) -> tuple[dict[str, Any], list[Sequence]]:
    with tempfile.TemporaryDirectory(prefix="quell-fix-kills-") as name:
        folder = Path(name)
        database = store or f"sqlite:///{folder}/quell.db"
        with ground_of(database, folder / "ground", has_remote=has_remote) as ground:
            sequences = Sequences(ground, seed)
            done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(times)]
    return figures(done, sequences.boundaries, seed), done


def run_colours(times: int, seed: int) -> tuple[dict[str, Any], list[Sequence]]:
    with tempfile.TemporaryDirectory(prefix="quell-colour-kills-") as name:
        folder = Path(name)
        with colour_ground_of(f"sqlite:///{folder}/quell.db", folder / "ground") as ground:
            sequences = ColourSequences(ground, seed)
            done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(times)]
    return figures(done, sequences.boundaries, seed), done


def run_pilots(times: int, seed: int) -> tuple[dict[str, Any], list[Sequence]]:
    with tempfile.TemporaryDirectory(prefix="quell-pilot-kills-") as name:
        folder = Path(name)
        with pilot_ground_of(f"sqlite:///{folder}/quell.db", folder / "ground") as ground:
            sequences = PilotSequences(ground, seed)
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
    asked.add_argument("--remotes", type=int, default=20, help="sequences of a branch that counts at a remote")
    asked.add_argument("--colours", type=int, default=20, help="sequences of a service in two colours")
    asked.add_argument("--pilots", type=int, default=20, help="sequences of a fix that one instance gets first")
    asked.add_argument("--store", metavar="URL", help="default: a SQLite database of its own")
    asked.add_argument("--canaries", type=int, default=10, help="bad fixes under traffic")
    options: argparse.Namespace = asked.parse_args()
    found: dict[str, dict[str, Any]] = {}
    if options.times:
        found["kills"], _ = run(options.times, options.seed, options.store)
    if options.remotes:
        found["remote_kills"], _ = run(options.remotes, options.seed, has_remote=True)
    if options.colours:
        found["colour_kills"], _ = run_colours(options.colours, options.seed)
    if options.pilots:
        found["pilot_kills"], _ = run_pilots(options.pilots, options.seed)
    if options.canaries:
        found["exposure"] = exposure(options.canaries)
        found["colour_exposure"] = exposure(options.canaries, in_colours=True)
    if options.json:
        print_json(found)
        return
    for name, figures_of in found.items():
        _show(_TITLES[name], figures_of)
        for story in figures_of.get("stories", ()):
            print(story)


def exposure(canaries: int, *, in_colours: bool = False) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quell-fix-exposure-") as name:
        return (expose_colours if in_colours else expose)(canaries, Path(name))


def _show(title: str, found: dict[str, Any]) -> None:
    rows = [(name.replace("_", " "), cell(value)) for name, value in found.items() if name != "stories"]
    print_table(title, ("figure", "value"), rows)


if __name__ == "__main__":
    main()
