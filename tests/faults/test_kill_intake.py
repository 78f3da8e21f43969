"""kill -9 of the gateway and of the drainer under load: what was acknowledged is there, once."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.intake_kills import kill_and_count

pytestmark = pytest.mark.fault
KILLS = 26  # on each database


def _assert_nothing_lost(found: dict[str, Any]) -> None:
    assert sum(found["killed"].values()) == KILLS
    assert min(found["killed"].values()) > 0
    assert len(found["killed"]) == 2
    assert found["acknowledged"] > 0
    assert found["missing"] == 0
    assert found["doubled"] == 0
    assert found["never_acknowledged"] == 0  # senders repeat until they are
    assert found["without_outcome"] == 0
    assert found["timeline_faults"] == []


def test_kills_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    """A 2xx is a promise that no crash of either process breaks."""
    _assert_nothing_lost(kill_and_count(f"sqlite:///{tmp_path}/quell.db", kills=KILLS, seed=20261123))


def test_kills_on_postgresql_lose_and_double_nothing(postgres_url: str) -> None:
    """The same promise on the database for several machines, where a dead client's lock has to go as well."""
    _assert_nothing_lost(kill_and_count(postgres_url, kills=KILLS, seed=20261124))
