"""kill -9 while a fix of a service in two colours is made ready, tried, switched to or taken back."""

from pathlib import Path

import pytest

from benchmarks.colour_ground import colour_ground_of
from benchmarks.colour_sequences import ColourSequences
from benchmarks.fix_sequences import KINDS

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]


def test_whatever_dies_the_colour_that_serves_is_whole_and_git_says_what_runs(tmp_path: Path) -> None:
    """Two of each kind; `python -m benchmarks.fix_kills --colours 50` does fifty."""
    with colour_ground_of(f"sqlite:///{tmp_path}/quell.db", tmp_path / "ground") as ground:
        sequences = ColourSequences(ground, seed=11)
        done = [sequences.run(number, KINDS[number % len(KINDS)]) for number in range(8)]
    assert [f"{one.story}: {one.faults}" for one in done if one.faults] == []
    assert sum(len(one.kills) for one in done) >= 8 and len(sequences.boundaries) > 150
