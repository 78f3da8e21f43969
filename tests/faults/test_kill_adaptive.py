"""The process that adjusts an adaptive throttle is killed: the limit stays, and the next process goes on from there."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import BACKEND, TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Step, plan_hash
from quell.incidents.service import Catalog
from quell.ports import Document
from quell.response.gradient import Limiter
from tasks.adaptive import read_limiter
from tasks.effect import undo_mitigation
from tasks.resources import Resources, utc_now
from tests.waiting import wait_until

pytestmark = pytest.mark.fault
TREE = Path(__file__).resolve().parents[2]
STEP = Step(
    actuator="haproxy",
    action="adaptive",
    target="global",
    params={"backend": BACKEND, "latency_ms": 100, "floor_rps": 5},
)


@dataclass
class World:
    url: str
    store: SqlStore
    proxy: TrialProxy
    actuator: HAProxyActuator

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.adaptive_process", self.url, self.proxy.socket, str(self.proxy.maps)]
        return subprocess.Popen(command, cwd=TREE)

    def limiter(self) -> Limiter:
        with self.store.reading() as tx:
            found = tx.documents.get("adaptive MIT-1")
        assert found is not None
        return read_limiter(found.body)

    def adjusted_at(self) -> float:
        with self.store.reading() as tx:
            found = tx.documents.get("adaptive MIT-1")
        assert found is not None
        return found.updated_at.timestamp()

    def holder(self) -> str:
        with self.store.reading() as tx:
            lease = tx.leases.get("adaptive MIT-1")
        return lease.holder if lease else ""

    @property
    def res(self) -> Resources:
        config = Config(folder=Path(), connections=Connections(store="", prometheus=""), catalog=Catalog(services={}))
        return Resources(
            config=config,
            store=self.store,
            metrics=None,  # type: ignore[arg-type]
            actuators={"haproxy": self.actuator},
            clock=utc_now,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = f"sqlite:///{tmp_path}/record.db"
    store = SqlStore(url)
    with TrialProxy(tmp_path / "proxy") as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=None)
        actuator.apply(STEP)
        _record(store)
        yield World(url=url, store=store, proxy=proxy, actuator=actuator)
    store.close()


def _record(store: SqlStore) -> None:
    """A throttle that is in force, and holds a flood of one client at what was measured before."""
    now = utc_now()
    plan = Plan(
        playbook="adaptive-throttle",
        incident=None,
        target="service:shop",
        steps=(STEP,),
        undo=("take it away",),
        blast_radius=BlastRadius(service="shop", instances=(), capacity_share=0, capacity_left=1),
        evidence=(),
        needs_approval=False,
        approval_reason="no approval needed",
        expires_after=timedelta(hours=1),
    )
    made = Mitigation(
        id=MitigationId("MIT-1"),
        state=MitigationState.EFFECTIVE,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident=None,
        playbook=plan.playbook,
        service="shop",
        target=plan.target,
        requested_by="bob",
        created_at=now,
        updated_at=now,
        applied_at=now,
    )
    entry = JournalEntry(
        id="MIT-1/1",
        mitigation="MIT-1",
        position=1,
        step=STEP,
        state_before={},
        state=JournalState.DONE,
        holder="test",
        intended_at=now,
    )
    limiter = Limiter(limit=20, capacity=20, measured=50, demands={"flooder": 100}, offered=100)
    with store.writing() as tx:
        tx.mitigations.add(made)
        tx.journal.add(entry)
        body = {"limiter": asdict(limiter)}
        tx.documents.put(Document(id="adaptive MIT-1", kind="adaptive", updated_at=now, body=body))


def stop_between_writes(world: World, pid: int) -> None:
    """A process that is held in the middle of a write keeps SQLite's lock, and that is another story."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        database = sqlite3.connect(world.url.removeprefix("sqlite:///"), timeout=0.1, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.03)
        else:
            return
        finally:
            database.close()


def test_a_killed_process_leaves_the_limit_and_the_next_one_follows_on(world: World) -> None:
    began = time.time()
    first = world.start()
    with world.proxy.flooding("flooder", 80):
        try:
            wait_until("the first process adjusts", lambda: world.adjusted_at() > began + 0.5)
            holder = world.holder()
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        killed = time.time()
        assert world.actuator.verify(STEP), "without anybody the limit stays as it is"
        assert world.actuator.adaptive.in_force(STEP) is not None
        second = world.start()
        try:
            wait_until("the second process takes over", lambda: world.holder() not in ("", holder))
            wait_until("the second process adjusts", lambda: world.adjusted_at() > killed)
            assert world.limiter().measured >= 50, "what was measured before is not forgotten"
        finally:
            second.terminate()
            second.wait()
    assert undo_mitigation(world.res, "MIT-1", "bob", "enough").state is MitigationState.UNDONE
    assert world.actuator.adaptive.in_force(STEP) is None


def test_what_a_stopped_process_sets_after_the_undo_is_gone_when_it_is_awake_again(world: World) -> None:
    """SIGSTOP holds it for as long as a laptop sleeps; meanwhile a person has taken the throttle back."""
    began = time.time()
    process = world.start()
    try:
        with world.proxy.flooding("flooder", 80):
            wait_until("the process adjusts", lambda: world.adjusted_at() > began + 0.5)
            stop_between_writes(world, process.pid)
            assert undo_mitigation(world.res, "MIT-1", "bob", "enough").state is MitigationState.UNDONE
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(1.5)  # it looks at least five times
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        process.wait()
    assert world.actuator.adaptive.in_force(STEP) is None
    with world.store.reading() as tx:
        found = tx.mitigations.get("MIT-1")
    assert found is not None
    assert found.state is MitigationState.UNDONE
