"""When taking a server out was a mistake: users gained nothing, and it is well when it is asked directly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.mitigation import BlastRadius
from quell.response.false_isolation import Probe, accusation, trouble_of_probes, users_gained_nothing

pytestmark = pytest.mark.unit
LIMIT = 0.02
WELL = [Probe(seconds=0.002)] * 3
TIMES = np.arange(0.0, 120.0, 5.0)


def gained(before: float, after: float, *, may_still_improve: bool = False) -> str:
    worst = np.where(TIMES <= 60, before, after)
    return users_gained_nothing(TIMES, worst, applied_at=60.0, limit=LIMIT, may_still_improve=may_still_improve)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.0, 0.0, "users were never outside the limit"),
        (0.3, 0.3, "users are no better off: 0.3 before, 0.3 now"),
        (0.3, 0.25, "users are no better off"),
        (0.3, 0.1, ""),  # better, and on its way
        (0.3, 0.0, ""),
        (0.0, 0.3, ""),  # it began afterwards: nobody can tell
    ],
)
def test_what_users_see(before: float, after: float, said: str) -> None:
    found = gained(before, after)
    assert found.startswith(said) if said else found == ""


def test_while_it_may_still_improve_only_users_who_never_suffered_count() -> None:
    assert gained(0.3, 0.3, may_still_improve=True) == ""
    assert gained(0.0, 0.0, may_still_improve=True)


def test_without_samples_on_both_sides_nothing_is_said() -> None:
    """Missing data is never healthy, and no proof of a mistake either."""
    assert gained(float("nan"), 0.0) == "" and gained(0.0, float("nan")) == ""


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0.001, 0.5))
def test_what_recovered_is_never_called_a_mistake(values: list[float], limit: float) -> None:
    worst = np.array(values)
    times = np.arange(float(len(worst)))
    applied_at = float(len(worst) // 2 - 1)
    said = users_gained_nothing(times, worst, applied_at=applied_at, limit=limit, may_still_improve=False)
    if worst[-1] <= limit < worst.max():
        assert said == ""


@pytest.mark.parametrize(
    ("own", "siblings", "said"),
    [
        ({"a": WELL}, WELL, ""),
        ({"a": WELL}, [], ""),
        ({"a": [*WELL[:2], Probe(seconds=1.0, trouble="ConnectError")]}, WELL, "a fails 1 of 3 direct requests"),
        ({"a": WELL[:2]}, WELL, "a was asked 2 times, 3 are needed"),
        ({"a": [Probe(seconds=0.9)] * 3}, WELL, "a takes 0.90 s, its siblings 0.00 s"),
        ({"a": [Probe(seconds=0.02)] * 3}, WELL, ""),  # ten times slower, and still nothing to anybody
        ({"a": [Probe(seconds=0.9)] * 3}, [Probe(seconds=0.8)] * 3, ""),
        ({"a": WELL, "b": [Probe(seconds=0, trouble="status 500")] * 3}, WELL, "b fails 3 of 3"),
        ({}, WELL, "no instance can be asked directly"),
    ],
)
def test_what_the_instances_answer(own: dict[str, list[Probe]], siblings: list[Probe], said: str) -> None:
    found = trouble_of_probes(own, siblings)
    assert found.startswith(said) if said else found == ""


def test_the_sentence_says_what_it_cost() -> None:
    radius = BlastRadius(service="api", instances=("a",), capacity_share=1 / 3, capacity_left=2 / 3)
    said = accusation(["a"], "users were never outside the limit", radius, 31.2)
    assert said.startswith("false isolation: a is well") and "33% of api's capacity for 31 s" in said
