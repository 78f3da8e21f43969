"""kill -9 while one instance gets a fix before the others, while they follow it, and while all of it is taken back."""

from pathlib import Path

import pytest

from benchmarks.fix_sequences import KINDS
from benchmarks.pilot_ground import pilot_ground_of
from benchmarks.pilot_sequences import PilotSequences

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


def test_whatever_dies_every_instance_runs_what_git_says_with_the_weight_of_before(tmp_path: Path) -> None:
    """Two of each kind; `python -m benchmarks.fix_kills --pilots 50` does fifty."""
    with pilot_ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        sequences = PilotSequences(ground, seed=5)
        done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(8)]
    assert [f"{one.story}: {one.faults}" for one in done if one.faults] == []
    assert sum(len(one.kills) for one in done) >= 8 and len(sequences.boundaries) > 150
