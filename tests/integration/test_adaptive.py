"""The adaptive throttle on a real HAProxy: what it sets, who adjusts it, and that nothing of it stays behind."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.sandbox.trial_proxy import BACKEND, TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_adaptive import Adaptive
from quell.adapters.actuators.haproxy_files import read_map
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Step, plan_hash
from quell.incidents.service import Catalog, Service
from quell.response.autonomy import Autonomy
from quell.response.gradient import Caps, Limiter, Stage
from quell.response.playbook import Playbook, RecoveryRule, StepTemplate
from quell.response.traffic import Traffic
from tasks.adaptive import Controller, read_limiter
from tasks.automation import set_automation
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.resources import Resources

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STEP = Step(
    actuator="haproxy",
    action="adaptive",
    target="global",
    params={"backend": BACKEND, "latency_ms": 100, "floor_rps": 5},
)
PLAYBOOK = Playbook(
    name="adaptive-throttle",
    description="Limit an overloaded service to what it can do.",
    owner="t",
    matchers=(),
    target_kind="service",
    steps=(StepTemplate(actuator="haproxy", action="adaptive", target="global", params=STEP.params),),
    recovery=RecoveryRule(signal="time"),
)


@dataclass
class World:
    proxy: TrialProxy
    actuator: HAProxyActuator
    res: Resources
    now: datetime = NOW

    def mitigation(self) -> Mitigation:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get("MIT-1")
        assert found is not None
        return found

    def limiter(self) -> Limiter | None:
        with self.res.store.reading() as tx:
            found = tx.documents.get("adaptive MIT-1")
        return read_limiter(found.body) if found else None

    def told(self) -> list[str]:
        with self.res.store.reading() as tx:
            return [entry.text for entry in tx.timeline.entries() if entry.kind == "limit adjusted"]

    def apply(self, state: MitigationState = MitigationState.APPLIED) -> None:
        """As `respond` would have it, with the intent in the journal."""
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
        with self.res.store.writing() as tx:
            tx.mitigations.add(
                Mitigation(
                    id=MitigationId("MIT-1"),
                    state=MitigationState.APPLYING,
                    plan=plan,
                    plan_hash=plan_hash(plan),
                    incident=None,
                    playbook="adaptive-throttle",
                    service="shop",
                    target="service:shop",
                    requested_by="quell",
                    created_at=self.now,
                    updated_at=self.now,
                )
            )
        assert apply_mitigation(self.res, "MIT-1").state is MitigationState.APPLIED
        with self.res.store.writing() as tx:
            tx.mitigations.put(replace(self.mitigation(), state=state))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with TrialProxy(tmp_path) as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        config = Config(
            folder=Path(),
            connections=Connections(store="", prometheus=""),
            catalog=Catalog(services={"shop": Service(name="shop", team="t")}),
            playbooks={PLAYBOOK.name: replace(PLAYBOOK, autonomy=Autonomy(successes=0))},
        )
        made = World(proxy=proxy, actuator=actuator, res=None)  # type: ignore[arg-type]
        made.res = Resources(
            config=config,
            store=MemoryStore(),
            metrics=None,  # type: ignore[arg-type]
            actuators={"haproxy": actuator},
            clock=lambda: made.now,
        )
        yield made


def in_maps(world: World) -> tuple[str | None, dict[str, str]]:
    """What a reload would load."""
    knob = read_map(world.proxy.maps / "knobs.map").get("adaptive_rps")
    return knob, dict(read_map(world.proxy.maps / "adaptive.map"))


def look_for(controller: Controller, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        controller.look()
        time.sleep(0.1)


def test_it_begins_with_what_is_answered_now_and_a_reload_keeps_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Adaptive.traffic  # with what waits for a quarter of a second
    monkeypatch.setattr(Adaptive, "traffic", lambda self, step: replace(traffic(self, step), in_flight=20))
    with world.proxy.flooding("importer", 80) as answered:
        time.sleep(1.2)
        world.actuator.apply(STEP)
        rate = sum(at > time.monotonic() - 1 for at in answered)
    assert world.actuator.verify(STEP)
    before = world.actuator.adaptive.in_force(STEP)
    assert before is not None
    begun = before.everyone or before.clients["importer"]  # whichever is enough
    assert rate / 3 < begun < 85, f"{rate} were answered in the last second"
    world.proxy.reload()
    assert world.actuator.adaptive.in_force(STEP) == before
    world.actuator.undo(STEP, {})
    assert in_maps(world) == (None, {})


def test_limits_refuse_what_exceeds_them_and_leave_others_alone(world: World) -> None:
    world.actuator.adaptive.adjust(STEP, Caps(everyone=None, clients={"importer": 3}))
    answers = [world.proxy.get("importer")[0] for _ in range(20)]
    assert answers.count(200) == 3
    assert {world.proxy.get("web")[0] for _ in range(20)} == {200}


def test_limits_of_people_are_not_touched(world: World) -> None:
    """`limits.map` and the knob `global_rps` belong to others, who undo them themselves."""
    throttle = Step(actuator="haproxy", action="throttle", target="client:web", params={"requests_per_second": 7})
    everyone = Step(actuator="haproxy", action="throttle_all", target="global", params={"requests_per_second": 500})
    for step in (throttle, everyone):
        world.actuator.apply(step)
    world.actuator.apply(STEP)
    world.actuator.adaptive.adjust(STEP, Caps(everyone=50, clients={"web": 3}))
    world.actuator.undo(STEP, {})
    assert world.actuator.verify(throttle)
    assert world.actuator.verify(everyone)


def test_an_unknown_backend_is_refused_before_anything_is_changed(world: World) -> None:
    step = replace(STEP, params={**STEP.params, "backend": "be_nobody"})
    with pytest.raises(InvalidInput, match="has no backend 'be_nobody'"):
        world.actuator.apply(step)
    assert in_maps(world) == (None, {})


def test_the_limit_is_adjusted_and_lifted_by_itself_when_nobody_needs_it(world: World) -> None:
    world.apply(MitigationState.EFFECTIVE)
    world.proxy.get("web")
    controller = Controller(world.res)
    look_for(controller, 1.5)
    limiter = world.limiter()
    assert limiter is not None
    _put(world, replace(limiter, stage=Stage.RELEASING, raised=3, calm_for=9))  # the last step of the release
    look_for(controller, 1.5)
    assert world.mitigation().state is MitigationState.UNDONE
    assert in_maps(world) == (None, {})


def test_the_next_process_goes_on_where_a_dead_one_stopped(world: World) -> None:
    """What was measured under load cannot be measured again by somebody who comes later."""
    world.apply()
    dead, heir = Controller(world.res, holder="dead"), Controller(world.res, holder="heir")
    look_for(dead, 1.5)
    known = world.limiter()
    assert known is not None
    _put(world, replace(known, capacity=321.0, limit=300.0))
    look_for(heir, 1.5)
    assert _limit(world) == 300.0, "the lease of the other one still holds"
    world.now += timedelta(seconds=6)
    look_for(heir, 1.5)
    after = world.limiter()
    assert after is not None
    assert after.capacity == 321.0


def test_a_process_that_was_presumed_dead_adjusts_nothing_when_it_wakes_up(world: World) -> None:
    world.apply()
    paused, heir = Controller(world.res, holder="paused"), Controller(world.res, holder="heir")
    look_for(paused, 1.2)
    world.now += timedelta(seconds=6)
    look_for(heir, 1.2)
    set_by_heir = world.limiter()
    look_for(paused, 1.5)
    assert world.limiter() == set_by_heir


def test_what_is_set_too_late_is_taken_away_again(world: World) -> None:
    """The throttle was undone between the decision of a process and its commands."""
    world.apply()
    controller = Controller(world.res)
    look_for(controller, 1.2)
    undo_mitigation(world.res, "MIT-1", "bob", "enough")
    world.actuator.adaptive.adjust(STEP, Caps(everyone=10, clients={"web": 3}))
    controller.tidy()
    assert in_maps(world) == (None, {})
    assert world.actuator.adaptive.in_force(STEP) is None


def test_a_throttle_that_is_undone_in_the_middle_of_an_adjustment_leaves_nothing(world: World) -> None:
    world.apply()
    lever, adjust = world.actuator.adaptive, world.actuator.adaptive.adjust

    def undone_meanwhile(step: Step, caps: Caps) -> None:
        undo_mitigation(world.res, "MIT-1", "bob", "enough")
        adjust(step, caps)

    lever.adjust = undone_meanwhile  # type: ignore[method-assign]
    lever.in_force = lambda _: Caps(everyone=1)  # type: ignore[method-assign]  # something to correct
    look_for(Controller(world.res), 1.2)
    assert in_maps(world) == (None, {})


def test_with_automation_off_it_is_not_tightened_and_can_be_undone(world: World) -> None:
    world.apply()
    controller = Controller(world.res)
    lever, traffic = world.actuator.adaptive, world.actuator.adaptive.traffic
    lever.traffic = lambda step: _jammed(traffic(step))  # type: ignore[method-assign]
    look_for(controller, 1.2)
    _put(world, Limiter(limit=80, capacity=80, offered=100, demands={"web": 100}))
    set_automation(world.res, enabled=False, by="bob", why="test")
    look_for(controller, 1.5)
    assert _limit(world) >= 80
    set_automation(world.res, enabled=True, by="bob", why="test")
    look_for(controller, 1.5)
    assert _limit(world) < 80
    set_automation(world.res, enabled=False, by="bob", why="test")
    assert undo_mitigation(world.res, "MIT-1", "bob", "enough").state is MitigationState.UNDONE


def test_the_timeline_says_why_the_limit_changed(world: World) -> None:
    world.apply()
    with world.proxy.flooding("web", 40):
        look_for(Controller(world.res), 1.2)
    assert any("answered" in text and "offered" in text for text in world.told())


def _jammed(traffic: Traffic) -> Traffic:
    """A thousand requests wait, and 50 a second are answered."""
    seconds = traffic.at_seconds
    done = int(seconds * 50)
    return replace(traffic, in_flight=1000, answered=done, failed=0, offered=done * 3, admitted=done)


def _put(world: World, limiter: Limiter) -> None:
    with world.res.store.writing() as tx:
        found = tx.documents.get("adaptive MIT-1")
        assert found is not None
        tx.documents.put(replace(found, body={**found.body, "limiter": asdict(limiter)}))


def _limit(world: World) -> float:
    limiter = world.limiter()
    assert limiter is not None
    return limiter.limit
