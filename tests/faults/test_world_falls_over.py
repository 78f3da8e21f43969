"""The world falls over in the middle of a mitigation: what is left is settled within a minute, and all agree."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.kill_ground import Boundaries
from benchmarks.mitigation_kills import Torture
from benchmarks.postgres import Postgres, postgres_server
from deployments.sandbox.trial_proxy import TrialProxy

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
EVERY = 3  # of the boundaries, each third
Disturbance = Callable[[Boundaries], None]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[TrialProxy]:
    with TrialProxy(tmp_path / "proxy") as running:
        yield running


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres_server(durable=False) as server:
        yield server


def faults_of(torture: Torture, work: str, disturbance: Disturbance) -> list[tuple[str, object]]:
    """What was wrong after the disturbance, at each third boundary."""
    last = len(torture.boundaries_of(work))
    outcomes = [torture.disturb(work, at, disturbance) for at in range(1, last + 1, EVERY)]
    assert len(outcomes) >= 6
    return [(one.boundary, one.faults or "not settled") for one in outcomes if one.faults or one.settled_s is None]


@pytest.mark.parametrize("work", ["mitigate", "undo", "release"])
def test_haproxy_is_reloaded(tmp_path: Path, proxy: TrialProxy, work: str) -> None:
    torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy)
    assert faults_of(torture, work, lambda _: proxy.reload()) == []


@pytest.mark.parametrize("work", ["mitigate", "undo", "release"])
def test_haproxy_is_killed_and_comes_back(tmp_path: Path, proxy: TrialProxy, work: str) -> None:
    def kill(_: Boundaries) -> None:
        proxy.kill()
        proxy.start_again()

    torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy)
    assert faults_of(torture, work, kill) == []


@pytest.mark.parametrize("work", ["mitigate", "undo"])
def test_haproxy_comes_back_without_its_state(tmp_path: Path, proxy: TrialProxy, work: str) -> None:
    """Its files were on a disk that is gone: what the record says is in force is put back, what is undone stays so."""

    def forget(_: Boundaries) -> None:
        proxy.kill()
        proxy.state_file.write_text("")
        proxy.start_again()

    torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy)
    assert faults_of(torture, work, forget) == []


@pytest.mark.parametrize("work", ["mitigate", "undo"])
def test_the_database_is_restarted(proxy: TrialProxy, database: Postgres, work: str) -> None:
    def restart(_: Boundaries) -> None:
        database.stop()
        database.start()

    assert faults_of(Torture(database.url, proxy), work, restart) == []


@pytest.mark.parametrize("seconds", [600.0, -600.0])
@pytest.mark.parametrize("work", ["mitigate", "undo"])
def test_the_clock_jumps(tmp_path: Path, proxy: TrialProxy, work: str, seconds: float) -> None:
    """One host's clock is ten minutes wrong from some moment on; the next process has the right time."""

    def jump(boundaries: Boundaries) -> None:
        boundaries.jump = seconds

    torture = Torture(f"sqlite:///{tmp_path}/record.db", proxy)
    assert faults_of(torture, work, jump) == []
