"""A release a little at a time on a real HAProxy: what is well comes back whole, what hurts goes out again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Unavailable
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.timeline import verify_chain
from quell.response.playbook import ApprovalPolicy, Limits
from quell.response.reconciliation import is_easing
from quell.response.release import ReleaseRule
from tasks.automation import set_automation
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_manual
from tasks.reconciliation import reconcile_all
from tasks.record import get_mitigation, move
from tasks.release import begin_release, ease_once, release_mitigation
from tasks.resources import Resources
from tests.shop_levers import UsersSignal, shop_config

pytestmark = pytest.mark.integration
SERVER = "be_checkout/checkout-2"
HOLD = timedelta(seconds=10)


@dataclass
class World:
    res: Resources
    proxy: TrialProxy
    users: UsersSignal
    now: datetime = datetime(2026, 11, 23, 8, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def effective(self) -> str:
        """A mitigation that isolates checkout-2 and was judged effective."""
        id = plan_manual(self.res, "isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test").id
        assert apply_mitigation(self.res, id).state is MitigationState.APPLIED
        with self.res.store.writing() as tx:
            move(tx, get_mitigation(tx, id), MitigationState.EFFECTIVE, now=self.now, by="quell", why="users are well")
        return id

    def mitigation(self, id: str) -> Mitigation:
        with self.res.store.reading() as tx:
            return get_mitigation(tx, id)

    @property
    def weight(self) -> int:
        """What the server gets now: its weight, and 0 while it is drained."""
        server = RuntimeClient(self.proxy.socket, timedelta(seconds=5)).servers()[SERVER]
        return 0 if server.admin else server.weight

    def told(self, kind: str) -> list[str]:
        with self.res.store.reading() as tx:
            return [entry.text for entry in tx.timeline.entries() if entry.kind == kind]

    def send(self, requests: int) -> None:
        for _ in range(requests):
            self.proxy.get()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    config = shop_config()
    book = replace(
        config.playbooks["isolate-bad-instance"],
        approval=ApprovalPolicy(above_capacity_share=1.0),
        limits=Limits(capacity_floor=0.0),
        release=ReleaseRule(shares=(0.01, 0.1, 0.5), hold=HOLD),
    )
    with TrialProxy(tmp_path / "proxy") as proxy:
        users = UsersSignal()
        levers = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        res = Resources(
            config=replace(config, playbooks={book.name: book}),
            store=store,
            metrics=users,  # type: ignore[arg-type] - it answers what is asked here
            actuators={"haproxy": levers},
            clock=lambda: world.now,
        )
        world = World(res=res, proxy=proxy, users=users)
        yield world
        with store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []
    store.close()


def test_it_comes_back_in_steps_and_is_whole_at_the_end(world: World) -> None:
    id, weights = world.effective(), []

    def sleep(seconds: float) -> None:
        weights.append(world.weight)
        world.sleep(seconds)

    assert world.weight == 0
    released = release_mitigation(world.res, id, "bob", "mended", sleep=sleep)
    assert released.state is MitigationState.UNDONE and released.eased_to is None
    assert list(dict.fromkeys(weights)) == [1, 10, 50] and world.weight == 100
    assert [text.split(",")[0] for text in world.told("effect eased")] == [
        f"{SERVER} takes {share} of its share again" for share in ("1%", "10%", "50%")
    ]


def test_no_share_is_given_before_the_last_one_has_held(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    world.sleep(HOLD.total_seconds() - 1)
    assert ease_once(world.res, id).eased_to == 0.01
    world.sleep(1)
    assert ease_once(world.res, id).eased_to == 0.1 and world.weight == 10


def test_a_server_that_still_fails_goes_out_again_and_a_person_is_told(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    world.sleep(10)
    ease_once(world.res, id)
    world.proxy.failing.add("checkout-2")
    world.send(60)  # a tenth of a share of three: some of them
    world.sleep(10)
    stopped = ease_once(world.res, id)
    assert stopped.state is MitigationState.EFFECTIVE and world.weight == 0
    assert "stopped at 10%" in stopped.recovery_reason and "with errors, at most 5% may be" in stopped.recovery_reason
    assert stopped.expires_at == world.now + stopped.plan.expires_after
    assert len(world.told("handed to a person")) == 1
    world.proxy.failing.clear()
    assert release_mitigation(world.res, id, "bob", "now it is", sleep=world.sleep).state is MitigationState.UNDONE
    assert world.weight == 100


def test_users_in_trouble_stop_it(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    world.users.value = 0.3
    world.sleep(10)
    assert ease_once(world.res, id).state is MitigationState.EFFECTIVE and world.weight == 0


def test_it_waits_while_nothing_is_seen_of_users_and_not_for_ever(world: World) -> None:
    """Missing data is never healthy."""
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    world.users.value = float("nan")
    world.sleep(10)
    assert ease_once(world.res, id).eased_to == 0.01
    world.sleep(300)
    stopped = ease_once(world.res, id)
    assert stopped.state is MitigationState.EFFECTIVE and "nothing was seen of users" in stopped.recovery_reason


def test_reconciliation_goes_on_where_a_dead_process_stopped(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    for weight in (10, 50, 100):
        world.sleep(15)
        reconcile_all(world.res)
        assert world.weight == weight
    assert world.mitigation(id).state is MitigationState.UNDONE


def test_what_was_given_but_not_recorded_is_given_again(world: World) -> None:
    """The process died between HAProxy and the store: the same share again, not the next one."""
    id = world.effective()
    with world.res.store.writing() as tx:
        moved = move(tx, get_mitigation(tx, id), MitigationState.UNDOING, now=world.now, by="bob", why="mended")
        tx.mitigations.put(replace(moved, eased_to=0.0, eased_at=world.now))
    assert ease_once(world.res, id).eased_to == 0.01 and world.weight == 1


def test_what_expires_comes_back_in_steps_too(world: World) -> None:
    id = world.effective()
    world.sleep(3601)
    assert reconcile_all(world.res)
    assert world.weight == 1 and is_easing(world.mitigation(id))


def test_an_undo_at_once_ends_a_release_that_is_under_way(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    assert undo_mitigation(world.res, id, "bob", "now").state is MitigationState.UNDONE and world.weight == 100


def test_a_second_release_leaves_the_first_to_its_work(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    assert begin_release(world.res, id, "alice", "me too").eased_to == 0.01


def test_what_did_not_help_comes_back_at_once(world: World) -> None:
    id = plan_manual(world.res, "isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test").id
    apply_mitigation(world.res, id)
    assert begin_release(world.res, id, "bob", "wrong one").state is MitigationState.UNDONE and world.weight == 100


def test_the_kill_switch_does_not_hold_up_a_release(world: World) -> None:
    id = world.effective()
    set_automation(world.res, False, "bob", "stop")
    assert release_mitigation(world.res, id, "bob", "back", sleep=world.sleep).state is MitigationState.UNDONE


def test_a_balancer_that_is_away_undoes_nothing_and_is_tried_again(world: World) -> None:
    id = world.effective()
    away = HAProxyActuator(socket="/nowhere", maps=None, state_file=None)
    begin_release(world.res, id, "bob", "mended")
    world.sleep(10)
    with pytest.raises(Unavailable):
        ease_once(replace(world.res, actuators={"haproxy": away}), id)
    assert is_easing(world.mitigation(id))
    assert release_mitigation(world.res, id, "bob", "back", sleep=world.sleep).state is MitigationState.UNDONE


def test_each_share_survives_a_reload(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    world.proxy.reload()
    assert world.weight == 1


def test_the_journal_says_undone_only_at_the_end(world: World) -> None:
    id = world.effective()
    begin_release(world.res, id, "bob", "mended")
    with world.res.store.reading() as tx:
        assert [entry.state for entry in tx.journal.find()] == [JournalState.DONE]
    release_mitigation(world.res, id, "bob", "back", sleep=world.sleep)
    with world.res.store.reading() as tx:
        assert [entry.state for entry in tx.journal.find()] == [JournalState.UNDONE]
