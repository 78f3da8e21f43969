"""kill -9 at the worst moments of a mitigation: reconciliation leaves one effect or none, and the journal agrees."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.incidents.errors import Conflict
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.incidents.timeline import verify_chain
from quell.response.autonomy import Autonomy
from quell.response.playbook import ApprovalPolicy
from tasks.automation import set_automation
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_manual
from tasks.reconciliation import reconcile_all
from tasks.resources import Resources, utc_now

pytestmark = pytest.mark.fault
REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "deployments" / "config.example"
SERVER = "be_checkout/checkout-2"

# The process that dies. It stops at one line, says so, and waits there to be killed.
_VICTIM = """
import sys, time
from dataclasses import replace
from pathlib import Path
from quell.adapters.actuators.haproxy import HAProxyActuator

moment, work, mitigation, example, store, folder = sys.argv[1:]

def stop(here):
    if here == moment:
        print("here", flush=True)
        time.sleep(600)

class Stopping(HAProxyActuator):
    def apply(self, step):
        stop("before the effect")
        super().apply(step)
        stop("after the effect")
    def undo(self, step, state_before):
        stop("before the undo")
        super().undo(step, state_before)
        stop("after the undo")

from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.resources import Resources, utc_now

folder = Path(folder)
actuator = Stopping(socket=str(folder / "haproxy.sock"), maps=folder / "maps", state_file=folder / "server-state")
res = Resources(
    config=load_config(Path(example)), store=SqlStore(store), metrics=None, actuators={"haproxy": actuator},
    clock=utc_now,
)
if work == "apply":
    apply_mitigation(res, mitigation)
else:
    undo_mitigation(res, mitigation, "bob", "enough")
"""


class Counting(HAProxyActuator):
    """HAProxy, counting what was sent."""

    applied = 0

    def apply(self, step: Step) -> None:
        self.applied += 1
        super().apply(step)


@dataclass
class World:
    res: Resources
    actuator: Counting
    proxy: TrialProxy
    store_url: str
    later: timedelta = timedelta(0)

    def clock(self) -> datetime:
        return utc_now() + self.later

    def kill(self, moment: str, mitigation: str, work: str = "apply") -> None:
        """Run the victim until it stands at the moment, and kill it there."""
        arguments = [moment, work, mitigation, str(EXAMPLE), self.store_url, str(self.proxy.folder)]
        command = [sys.executable, "-c", _VICTIM, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "here\n"
            victim.kill()

    def mitigation(self, id: str) -> Mitigation:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get(id)
        assert found is not None
        return found

    def journal(self) -> list[JournalState]:
        with self.res.store.reading() as tx:
            return [entry.state for entry in tx.journal.find()]

    @property
    def is_drained(self) -> bool:
        return self.actuator.capacity([SERVER])[SERVER] == 0.0

    @property
    def is_served(self) -> bool:
        return "checkout-2" in {self.proxy.get()[1] for _ in range(12)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = load_config(EXAMPLE)
    isolate = replace(
        config.playbooks["isolate-bad-instance"],
        approval=ApprovalPolicy(above_capacity_share=1.0),
        autonomy=Autonomy(successes=0),
    )
    config = replace(config, playbooks={isolate.name: isolate})
    url = f"sqlite:///{tmp_path / 'quell.db'}"
    store = SqlStore(url)
    with TrialProxy(tmp_path / "proxy") as proxy:
        actuator = Counting(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        res = Resources(
            config=config,
            store=store,
            metrics=None,  # type: ignore[arg-type] - nothing is judged here
            actuators={"haproxy": actuator},
            clock=utc_now,
        )
        world = World(res=res, actuator=actuator, proxy=proxy, store_url=url)
        world.res = replace(res, clock=world.clock)
        yield world
        with store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []
    store.close()


def _plan(world: World) -> str:
    return plan_manual(world.res, "isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test").id


def test_killed_between_intent_and_effect_the_effect_happens_once(world: World) -> None:
    id = _plan(world)
    world.kill("before the effect", id)
    assert world.journal() == [JournalState.INTENDED] and not world.is_drained
    world.later = timedelta(seconds=35)
    assert reconcile_all(world.res)
    assert world.mitigation(id).state is MitigationState.APPLIED
    assert world.journal() == [JournalState.DONE] and world.is_drained and not world.is_served
    assert world.actuator.applied == 1
    _undo_and_check(world, id)


def test_killed_between_effect_and_done_the_effect_is_not_sent_again(world: World) -> None:
    id = _plan(world)
    world.kill("after the effect", id)
    assert world.journal() == [JournalState.INTENDED] and world.is_drained
    world.later = timedelta(seconds=35)
    assert reconcile_all(world.res)
    assert world.mitigation(id).state is MitigationState.APPLIED
    assert world.journal() == [JournalState.DONE] and world.is_drained
    assert world.actuator.applied == 0
    _undo_and_check(world, id)


@pytest.mark.parametrize("moment", ["before the effect", "after the effect"])
def test_killed_and_then_switched_off_it_is_undone(world: World, moment: str) -> None:
    id = _plan(world)
    world.kill(moment, id)
    set_automation(world.res, False, "bob", "looking into it")
    world.later = timedelta(seconds=35)
    assert reconcile_all(world.res)
    assert world.mitigation(id).state is MitigationState.UNDONE
    assert world.journal() == [JournalState.UNDONE] and not world.is_drained and world.is_served
    assert world.actuator.applied == 0


@pytest.mark.parametrize("moment", ["before the undo", "after the undo"])
def test_killed_while_undoing_the_undo_is_finished(world: World, moment: str) -> None:
    id = _plan(world)
    assert apply_mitigation(world.res, id).state is MitigationState.APPLIED
    world.kill(moment, id, work="undo")
    assert world.journal() == [JournalState.UNDO_INTENDED]
    world.later = timedelta(seconds=35)
    assert reconcile_all(world.res)
    assert world.mitigation(id).state is MitigationState.UNDONE
    assert world.journal() == [JournalState.UNDONE] and not world.is_drained and world.is_served


def test_while_the_dead_process_may_still_be_alive_nobody_interferes(world: World) -> None:
    id = _plan(world)
    world.kill("before the effect", id)
    world.later = timedelta(seconds=10)
    assert reconcile_all(world.res) == []
    assert world.journal() == [JournalState.INTENDED] and not world.is_drained


def test_a_person_takes_back_what_a_process_that_has_just_died_held(world: World) -> None:
    """Its lease still counts for seconds; the person's command waits for it instead of asking to be repeated."""
    id = _plan(world)
    world.kill("after the effect", id)
    assert world.is_drained
    assert undo_mitigation(world.res, id, "bob", "enough").state is MitigationState.UNDONE
    assert world.journal() == [JournalState.UNDONE] and not world.is_drained and world.is_served


class Slow(Counting):
    """Stands still before its effect for so long that another process takes over and undoes everything."""

    meanwhile = staticmethod(lambda: None)

    def apply(self, step: Step) -> None:
        self.meanwhile()
        super().apply(step)


def test_a_process_that_wakes_too_late_takes_its_effect_back(world: World) -> None:
    """It was not dead, only slow: its lease was taken over and the mitigation undone before it acted."""
    id = _plan(world)
    slow = Slow(socket=world.proxy.socket, maps=world.proxy.maps, state_file=world.proxy.state_file)

    def take_over() -> None:
        world.later = timedelta(seconds=35)
        assert undo_mitigation(world.res, id, "quell", "its process is gone").state is MitigationState.UNDONE

    slow.meanwhile = take_over
    with pytest.raises(Conflict, match="lost"):
        apply_mitigation(replace(world.res, actuators={"haproxy": slow}), id)
    assert world.journal() == [JournalState.UNDONE] and not world.is_drained and world.is_served


def _undo_and_check(world: World, id: str) -> None:
    started = time.monotonic()
    assert undo_mitigation(world.res, id, "bob", "enough").state is MitigationState.UNDONE
    assert world.journal() == [JournalState.UNDONE] and not world.is_drained and world.is_served
    assert time.monotonic() - started < 10
