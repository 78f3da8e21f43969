"""A healthy server that was isolated comes back by itself, on a real HAProxy with real probes; a bad one stays out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.incidents.mitigation import Mitigation, MitigationState, Recovery
from quell.incidents.series import SeriesMatrix
from quell.response.autonomy import has_failed
from quell.response.playbook import ApprovalPolicy, Limits, RecoveryRule
from tasks.effect import apply_mitigation
from tasks.planning import plan_manual
from tasks.reconciliation import reconcile_all
from tasks.record import get_mitigation
from tasks.recovery import judge_once
from tasks.resources import Resources
from tests.shop_levers import shop_config

pytestmark = pytest.mark.integration
SERVER = "be_checkout/checkout-2"
RULE = RecoveryRule(signal="shop-error-ratio", below=0.02, hold=timedelta(seconds=15), deadline=timedelta(minutes=2))


class UsersSignal:
    """The users' error ratio as a function of time."""

    def __init__(self) -> None:
        self.at: Callable[[float], float] = lambda _time: 0.0

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        return SeriesMatrix(timestamps=times, values=np.array([[self.at(t)] for t in times]), labels=({},))


class World:
    def __init__(self, folder: Path, proxy: TrialProxy) -> None:
        config = shop_config()
        book = replace(
            config.playbooks["isolate-bad-instance"],
            approval=ApprovalPolicy(above_capacity_share=1.0),
            limits=Limits(capacity_floor=0.0),
            recovery=RULE,
        )
        checkout = config.catalog.services["checkout"]
        instances = tuple(replace(one, url=proxy.url_of(one.name)) for one in checkout.instances)
        services = {**config.catalog.services, "checkout": replace(checkout, instances=instances)}
        self.proxy = proxy
        self.now = datetime(2026, 11, 23, 8, tzinfo=UTC)
        self.users = UsersSignal()
        self.store = SqlStore(f"sqlite:///{folder}/quell.db")
        self.res = Resources(
            config=replace(config, playbooks={book.name: book}, catalog=replace(config.catalog, services=services)),
            store=self.store,
            metrics=self.users,  # type: ignore[arg-type] - it answers what is asked here
            actuators={"haproxy": HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)},
            clock=lambda: self.now,
        )
        self.id = plan_manual(self.res, book.name, "checkout", "checkout-2", None, "bob", "test").id
        assert apply_mitigation(self.res, self.id).state is MitigationState.APPLIED
        self.applied = self.now

    def judged_after(self, seconds: float) -> Mitigation:
        self.now = self.applied + timedelta(seconds=seconds)
        return judge_once(self.res, self.id)

    @property
    def is_drained(self) -> bool:
        return self.res.actuators["haproxy"].capacity([SERVER])[SERVER] == 0.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with TrialProxy(tmp_path / "proxy") as proxy:
        made = World(tmp_path, proxy)
        yield made
        made.store.close()


def test_who_is_well_while_users_never_suffered_comes_back_long_before_the_deadline(world: World) -> None:
    assert world.judged_after(29).state is MitigationState.APPLIED
    judged = world.judged_after(31)
    assert judged.recovery is Recovery.INEFFECTIVE and judged.recovery_reason.startswith("false isolation: checkout-2")
    assert "33% of checkout's capacity for 31 s" in judged.recovery_reason
    world.now += timedelta(seconds=21)  # the flow undoes it at once; here reconciliation does
    reconcile_all(world.res)
    with world.res.store.reading() as tx:
        ended = get_mitigation(tx, world.id)
    assert ended.state is MitigationState.UNDONE and not world.is_drained
    assert has_failed(ended), "the playbook must earn its rung again"


def test_who_suffers_on_without_the_server_gets_it_back_after_half_of_the_deadline(world: World) -> None:
    """The wrong one was taken out."""
    world.users.at = lambda _time: 0.3
    assert world.judged_after(59).state is MitigationState.APPLIED
    assert "users are no better off: 0.3 before, 0.3 now" in world.judged_after(61).recovery_reason


def test_a_server_that_fails_when_it_is_asked_stays_out(world: World) -> None:
    world.proxy.failing.add("checkout-2")
    assert world.judged_after(90).state is MitigationState.APPLIED and world.is_drained


def test_what_helped_users_is_effective_whatever_the_server_answers(world: World) -> None:
    world.users.at = lambda time: 0.3 if time <= world.applied.timestamp() else 0.0
    judged = world.judged_after(31)
    assert judged.recovery is Recovery.EFFECTIVE and world.is_drained


def test_users_of_whom_nothing_is_seen_prove_no_mistake(world: World) -> None:
    world.users.at = lambda _time: float("nan")
    assert world.judged_after(90).state is MitigationState.APPLIED
