"""kill -9 at every boundary of a mitigation's life: settled within a minute, one effect, and everything agrees."""

from pathlib import Path

import pytest

from benchmarks.concurrent_plans import FLOOR, concurrent_plans, redeliveries
from benchmarks.mitigation_kills import PASSES, WORKS, torture
from deployments.sandbox.trial_proxy import TrialProxy

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]


@pytest.mark.parametrize("work", WORKS)
def test_whoever_dies_anywhere_leaves_one_effect_or_none(store_url: str, tmp_path: Path, work: str) -> None:
    """Each boundary once on each database; `python -m benchmarks.kills` does more of it and says the figures."""
    with TrialProxy(tmp_path / "proxy") as proxy:
        outcomes = torture(store_url, proxy, kills=0, works=(work,))
    assert len(outcomes) > 15 and sum(not one.boundary.startswith("ran to its end") for one in outcomes) > 12
    assert [(one.boundary, one.faults) for one in outcomes if one.faults] == []
    assert [one.boundary for one in outcomes if one.settled_s is None or one.settled_s > PASSES[-1]] == []


def test_of_fifty_plans_for_one_pool_one_takes_effect_and_the_floor_holds_at_every_instant(
    store_url: str, tmp_path: Path
) -> None:
    with TrialProxy(tmp_path / "proxy") as proxy:
        found = concurrent_plans(store_url, proxy)
    assert (found["plans"], found["took_effect"], found["holding"], found["effects"]) == (50, 1, 1, 1)
    assert found["lowest_capacity"] >= FLOOR and found["looks"] > 50
    assert set(found["refused_by"]) <= {"capacity floor", "one mitigation per target"}


def test_a_webhook_that_is_delivered_two_hundred_times_has_one_effect(tmp_path: Path) -> None:
    """On SQLite; `python -m benchmarks.kills` does it on both."""
    with TrialProxy(tmp_path / "proxy") as proxy:
        found = redeliveries(None, proxy)
    assert found == {"deliveries": 200, "incidents": 1, "mitigations": 1, "effects": 1}
