"""Drift: a real repository, and a command that prints what runs; told once, and ended when both agree again."""

import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from tasks.drift import DRIFTED, look_for_drift
from tasks.resources import Resources

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FILE = "services/checkout-1.yaml"


@dataclass
class World:
    """A clock, a repository, and the file in which `running` finds what the instance runs."""

    folder: Path
    now: datetime = START

    @property
    def running(self) -> Path:
        return self.folder / "runs-checkout-1"

    def commit(self, text: str) -> str:
        repository = self.folder / "shop"
        (repository / FILE).parent.mkdir(exist_ok=True)
        (repository / FILE).write_text(text)
        identity = ["-c", "user.name=dana", "-c", "user.email=dana@example.org"]
        for command in (["add", "--all"], [*identity, "commit", "--quiet", "-m", "a change"]):
            subprocess.run(["git", *command], cwd=repository, check=True, timeout=20)
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
        return head.stdout.strip()


@pytest.fixture
def world(tmp_path: Path) -> World:
    subprocess.run(["git", "init", "--quiet", "-b", "main", str(tmp_path / "shop")], check=True, timeout=20)
    world = World(folder=tmp_path)
    world.commit("timeout: 800\n")
    world.running.write_text("timeout: 800\n")
    return world


@pytest.fixture
def res(world: World) -> Resources:
    repository = ConfigRepository(
        path=str(world.folder / "shop"),
        files={"checkout-1": FILE},
        running=("cat", str(world.folder / "runs-{instance}")),
    )
    service = Service(
        name="checkout",
        team="shop",
        instances=(Instance(name="checkout-1", service="checkout"),),
        repository=repository,
    )
    config = Config(
        folder=world.folder,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": service}),
        signals={},
        playbooks={},
    )
    metrics: Any = None
    return Resources(config=config, store=MemoryStore(), metrics=metrics, actuators={}, clock=lambda: world.now)


def look(res: Resources, world: World) -> list[str]:
    world.now += res.config.intervals.drift
    return look_for_drift(res)


def told(res: Resources) -> list[tuple[str, bool]]:
    """What the inbox was given: the instance, and whether it is over."""
    with res.store.reading() as tx:
        items = tx.inbox.find()
    assert all(item.payload["labels"]["alertname"] == DRIFTED for item in items)
    return [(item.payload["labels"]["instance"], "endsAt" in item.payload) for item in items]


def test_what_runs_as_committed_is_no_drift(res: Resources, world: World) -> None:
    assert look(res, world) == [] == look(res, world) and told(res) == []


def test_a_value_set_by_hand_is_told_once_and_ends_when_it_is_undone(res: Resources, world: World) -> None:
    """Told at the second look: a deployment is no drift."""
    world.running.write_text("timeout: 5\n")
    (said,) = look(res, world)
    assert said.startswith("checkout-1 runs another content of services/checkout-1.yaml, branch main is at ")
    assert told(res) == []
    look(res, world)
    look(res, world)
    assert told(res) == [("checkout-1", False)]
    world.running.write_text("timeout: 800\n")
    look(res, world)
    assert told(res) == [("checkout-1", False)], "one calm look is not enough"
    look(res, world)
    assert told(res) == [("checkout-1", False), ("checkout-1", True)]


def test_a_commit_that_nobody_deployed_is_drift_and_one_that_changed_other_files_is_none(
    res: Resources, world: World
) -> None:
    """The command may print a commit as well: its file counts, not whether it is the newest commit."""
    deployed = world.commit("timeout: 700\n")
    world.running.write_text(deployed + "\n")
    (world.folder / "shop/notes").write_text("x")
    world.commit("timeout: 700\n")
    assert look(res, world) == []
    world.commit("timeout: 600\n")
    (said,) = look(res, world)
    assert said.startswith(f"checkout-1 runs commit {deployed[:12]} of")


def test_what_cannot_be_seen_is_neither_drift_nor_its_end(res: Resources, world: World) -> None:
    world.running.write_text("timeout: 5\n")
    look(res, world)
    look(res, world)
    world.running.unlink()
    for _ in range(3):
        (said,) = look(res, world)
        assert "cannot be seen" in said
    assert told(res) == [("checkout-1", False)]


def test_it_is_looked_every_few_minutes_however_often_reconciliation_runs(res: Resources, world: World) -> None:
    world.running.write_text("timeout: 5\n")
    assert len(look(res, world)) == 1
    world.now += timedelta(seconds=15)
    assert look_for_drift(res) == []


def test_a_service_without_the_command_is_not_looked_at(res: Resources, world: World) -> None:
    service = res.config.catalog.services["checkout"]
    assert service.repository
    silent = replace(service, repository=replace(service.repository, running=()))
    config = replace(res.config, catalog=Catalog(services={"checkout": silent}))
    world.running.write_text("timeout: 5\n")
    assert look(replace(res, config=config), world) == []
