"""What the record says is in force is looked for at HAProxy: put back once, let go when it is taken away again."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.store.sql import SqlStore
from quell.incidents.mitigation import MitigationState
from quell.response.playbook import ApprovalPolicy, Limits
from tasks.effect import apply_mitigation
from tasks.keeping import keep_in_force
from tasks.lease import hold
from tasks.planning import plan_manual
from tasks.record import get_mitigation
from tasks.resources import Resources, utc_now
from tests.shop_levers import UsersSignal, shop_config

pytestmark = pytest.mark.integration
SERVER = "be_checkout/checkout-2"


class World:
    def __init__(self, res: Resources, proxy: TrialProxy) -> None:
        self.res = res
        self.proxy = proxy
        self.id = plan_manual(res, "isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test").id
        assert apply_mitigation(res, self.id).state is MitigationState.APPLIED

    def take_away(self) -> None:
        """As a person at the runtime socket would."""
        RuntimeClient(self.proxy.socket, timedelta(seconds=5)).order("set", "server", SERVER, "state", "ready")

    @property
    def is_drained(self) -> bool:
        return self.res.actuators["haproxy"].capacity([SERVER])[SERVER] == 0.0

    @property
    def state(self) -> MitigationState:
        with self.res.store.reading() as tx:
            return get_mitigation(tx, self.id).state

    def told(self, kind: str) -> int:
        with self.res.store.reading() as tx:
            return sum(entry.kind == kind for entry in tx.timeline.entries())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = shop_config()
    book = config.playbooks["isolate-bad-instance"]
    book = replace(book, approval=ApprovalPolicy(above_capacity_share=1.0), limits=Limits(capacity_floor=0.0))
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    with TrialProxy(tmp_path / "proxy") as proxy:
        res = Resources(
            config=replace(config, playbooks={book.name: book}),
            store=store,
            metrics=UsersSignal(),  # type: ignore[arg-type] - nothing is judged here
            actuators={"haproxy": HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)},
            clock=utc_now,
        )
        yield World(res, proxy)
    store.close()


def test_what_is_in_force_is_left_alone(world: World) -> None:
    assert keep_in_force(world.res) == [] and world.told("effect restored") == 0


def test_what_was_lost_is_put_back_and_the_timeline_says_so(world: World) -> None:
    world.take_away()
    (said,) = keep_in_force(world.res)
    assert "isolate of be_checkout/checkout-2 was not in force any more and is again" in said
    assert world.is_drained and world.state is MitigationState.APPLIED and world.told("effect restored") == 1


def test_what_is_taken_away_again_is_let_go(world: World) -> None:
    """Somebody at the load balancer does not want it; a tool that fights people is switched off."""
    world.take_away()
    keep_in_force(world.res)
    world.take_away()
    (said,) = keep_in_force(world.res)
    assert "taken away outside of Quell twice" in said
    assert world.state is MitigationState.UNDONE and not world.is_drained
    assert keep_in_force(world.res) == []


def test_while_somebody_works_on_it_nobody_else_looks(world: World) -> None:
    world.take_away()
    with hold(world.res, world.id):
        assert keep_in_force(world.res) == []
    assert not world.is_drained


def test_a_balancer_that_does_not_answer_is_said_and_the_others_are_looked_at(world: World) -> None:
    away = HAProxyActuator(socket="/nowhere", maps=None, state_file=None)
    (said,) = keep_in_force(replace(world.res, actuators={"haproxy": away}))
    assert "could not be looked at" in said
