"""The steps of a plan on a real HAProxy: side by side, tried again within a budget, and put back when one fails."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.incidents.errors import Conflict, InvalidInput, Refused, Unavailable
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.incidents.timeline import TimelineEntry
from quell.response.autonomy import Autonomy
from quell.response.playbook import ApprovalPolicy, Limits, Playbook, StepTemplate
from tasks import lease as leases
from tasks.automation import set_automation
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.lease import hold, kept
from tasks.planning import plan_manual
from tasks.resources import Resources, utc_now
from tests.shop_levers import UsersSignal, shop_config

pytestmark = pytest.mark.integration
SOON = timedelta(milliseconds=1)
TWO = ("be_checkout/checkout-1", "be_checkout/checkout-2")


class Unsteady(HAProxyActuator):
    """HAProxy, of which some calls fail before they reach it; `asked` are those that were tried, in their order."""

    def __init__(self, proxy: TrialProxy) -> None:
        super().__init__(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        self.asked: list[str] = []
        self.fails: Callable[[str], bool] = lambda _call: False

    def apply(self, step: Step) -> None:
        self._ask(f"{step.action} {step.target}")
        super().apply(step)

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._ask(f"undo {step.target}")
        super().undo(step, state_before)

    def _ask(self, call: str) -> None:
        self.asked.append(call)
        if self.fails(call):
            raise Unavailable(f"haproxy went away before: {call}")


@dataclass
class World:
    res: Resources
    levers: Unsteady
    plain: Mapping[str, Playbook] = field(default_factory=dict)

    def plan(self, *steps: StepTemplate, limits: Limits | None = None) -> str:
        """A plan of these steps, ready to be carried out."""
        book = replace(
            self.res.config.playbooks["isolate-bad-instance"],
            steps=steps,
            approval=ApprovalPolicy(above_capacity_share=1.0),
            autonomy=Autonomy(successes=0),
            limits=limits or Limits(capacity_floor=0.0),
        )
        self.res = replace(self.res, config=replace(self.res.config, playbooks={book.name: book}))
        return plan_manual(self.res, book.name, "checkout", "checkout-2", None, "bob", "test").id

    def states(self) -> list[JournalState]:
        with self.res.store.reading() as tx:
            return [entry.state for entry in sorted(tx.journal.find(), key=lambda entry: entry.position)]

    def told(self, kind: str) -> list[TimelineEntry]:
        with self.res.store.reading() as tx:
            return [entry for entry in tx.timeline.entries() if entry.kind == kind]

    def mitigation(self, id: str) -> Mitigation:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get(id)
        assert found is not None
        return found

    @property
    def serving(self) -> set[str]:
        servers = [f"be_checkout/checkout-{n}" for n in (1, 2, 3)]
        return {server for server, share in self.levers.capacity(servers).items() if share == 1.0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    with TrialProxy(tmp_path / "proxy") as proxy:
        levers = Unsteady(proxy)
        res = Resources(
            config=shop_config(),
            store=store,
            metrics=UsersSignal(),  # type: ignore[arg-type] - nothing is judged here
            actuators={"haproxy": levers},
            clock=utc_now,
        )
        yield World(res=res, levers=levers)
    store.close()


def isolate(server: str, *, with_previous: bool = False, retries: int = 2) -> StepTemplate:
    return StepTemplate(
        actuator="haproxy",
        action="isolate",
        target=server,
        retries=retries,
        backoff=SOON,
        with_previous=with_previous,
    )


def fails_times(count: int, wanted: str = "isolate") -> Callable[[str], bool]:
    left = [count]

    def fails(call: str) -> bool:
        if not call.startswith(wanted) or left[0] == 0:
            return False
        left[0] -= 1
        return True

    return fails


def test_steps_of_one_stage_are_under_way_together(world: World) -> None:
    """Both must have been begun before either can end; one after the other would break the barrier."""
    meeting = threading.Barrier(2, timeout=10)
    id = world.plan(isolate(TWO[0]), isolate(TWO[1], with_previous=True))
    world.levers.fails = lambda _call: meeting.wait() < 0
    assert apply_mitigation(world.res, id).state is MitigationState.APPLIED
    assert world.serving == {"be_checkout/checkout-3"} and world.states() == [JournalState.DONE] * 2
    assert undo_mitigation(world.res, id, "bob", "enough").state is MitigationState.UNDONE
    assert len(world.serving) == 3


def test_stages_are_done_in_their_order_and_undone_in_the_reverse(world: World) -> None:
    id = world.plan(isolate(TWO[0]), isolate(TWO[1]))
    apply_mitigation(world.res, id)
    undo_mitigation(world.res, id, "bob", "enough")
    assert world.levers.asked == [f"isolate {TWO[0]}", f"isolate {TWO[1]}", f"undo {TWO[1]}", f"undo {TWO[0]}"]


def test_when_one_of_a_stage_fails_the_others_are_put_back(world: World) -> None:
    id = world.plan(isolate(TWO[0]), isolate(TWO[1], with_previous=True, retries=0))
    world.levers.fails = lambda call: call == f"isolate {TWO[1]}"
    ended = apply_mitigation(world.res, id)
    assert ended.state is MitigationState.UNDONE
    assert len(world.serving) == 3 and world.states() == [JournalState.UNDONE] * 2


def test_what_fails_twice_is_done_at_the_third_try_and_the_timeline_says_so(world: World) -> None:
    id = world.plan(isolate(TWO[1]))
    world.levers.fails = fails_times(2)
    assert apply_mitigation(world.res, id).state is MitigationState.APPLIED
    told = world.told("effect failed")
    assert len(told) == 2
    assert "haproxy went away" in told[0].text and "tried 1 of 3 times, again in 0.0 s" in told[0].text
    assert len(world.told("effect intended")) == 1


def test_after_its_last_try_the_plan_is_undone(world: World) -> None:
    id = world.plan(isolate(TWO[1], retries=2))
    world.levers.fails = fails_times(3)
    ended = apply_mitigation(world.res, id)
    assert ended.state is MitigationState.UNDONE
    assert world.levers.asked.count(f"isolate {TWO[1]}") == 3


def test_the_budget_of_the_plan_ends_the_tries_of_all_its_steps(world: World) -> None:
    """Without it two dead levers with ten tries each would keep users waiting for minutes."""
    id = world.plan(isolate(TWO[0], retries=10), limits=Limits(capacity_floor=0.0, retry_budget=timedelta(0)))
    world.levers.fails = lambda call: call.startswith("isolate")
    assert apply_mitigation(world.res, id).state is MitigationState.UNDONE
    assert world.levers.asked.count(f"isolate {TWO[0]}") == 1


def test_the_kill_switch_stops_the_next_try(world: World) -> None:
    id = world.plan(isolate(TWO[1], retries=5))

    def fails(call: str) -> bool:
        if call.startswith("isolate"):
            set_automation(world.res, False, "bob", "stop")
        return call.startswith("isolate")

    world.levers.fails = fails
    ended = apply_mitigation(world.res, id)
    assert ended.state is MitigationState.UNDONE
    assert world.levers.asked.count(f"isolate {TWO[1]}") == 1
    assert "kill switch" in world.told("mitigation undone")[0].text


def test_an_undo_that_fails_once_is_tried_again_at_once(world: World) -> None:
    id = world.plan(isolate(TWO[1]))
    apply_mitigation(world.res, id)
    world.levers.fails = fails_times(1, "undo")
    assert undo_mitigation(world.res, id, "bob", "enough").state is MitigationState.UNDONE
    assert len(world.serving) == 3


def test_a_wrong_parameter_is_not_tried_again(world: World) -> None:
    """Trying again does not make it right, and each try costs users."""
    id = world.plan(isolate(TWO[1], retries=5))
    world.levers.fails = lambda call: call.startswith("isolate") and _wrong()
    assert apply_mitigation(world.res, id).state is MitigationState.UNDONE
    assert world.levers.asked.count(f"isolate {TWO[1]}") == 1


def test_text_parameters_are_filled_in_as_targets_are(world: World) -> None:
    template = StepTemplate(
        actuator="haproxy", action="switch", target="route:shop", params={"backend": "be_{service}"}
    )
    id = world.plan(template)
    assert world.mitigation(id).plan.steps[0].params == {"backend": "be_checkout"}


def test_a_lease_outlasts_a_call_that_may_take_longer_than_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else reconciliation would begin the same step a second time while the first is still running."""
    monkeypatch.setattr(leases, "LEASE_TIME", timedelta(seconds=0.4))
    with hold(world.res, "MIT-9") as held, kept(world.res, held, timedelta(seconds=30)):
        with pytest.raises(Conflict, match="somebody else"), hold(world.res, "MIT-9", wait=timedelta(seconds=1)):
            pass
        with world.res.store.writing() as tx:
            held.renew(tx, utc_now())


def test_who_hangs_for_longer_than_the_step_may_take_loses_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_TIME", timedelta(seconds=0.2))
    with hold(world.res, "MIT-9") as held, kept(world.res, held, timedelta(seconds=0.3)):
        with hold(world.res, "MIT-9", wait=timedelta(seconds=10)):
            pass
        with world.res.store.writing() as tx, pytest.raises(Conflict, match="was lost"):
            held.renew(tx, utc_now())


def test_commands_stop_when_the_step_has_taken_its_time(world: World) -> None:
    step = Step(actuator="haproxy", action="isolate", target=TWO[1], timeout=timedelta(0))
    with pytest.raises(Unavailable, match="longer than the step's timeout"):
        world.levers.verify(step)


def test_the_kill_switch_is_named_in_the_refusal(world: World) -> None:
    set_automation(world.res, False, "bob", "stop")
    with pytest.raises(Refused, match="kill switch"):
        world.plan(isolate(TWO[1]))


def _wrong() -> bool:
    raise InvalidInput("the target is wrong")
