"""The cost of safeguards on a real HAProxy: what they refuse of whom, and the limit that lifts them."""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.memory import MemoryStore
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, Step, plan_hash
from quell.incidents.service import Catalog, Service
from quell.ports import Document
from quell.response.cost import Cost, cost_document, write_cost
from quell.response.playbook import Limits, Playbook, RecoveryRule
from quell.response.usual import Usual
from tasks.effect import apply_mitigation
from tasks.resources import Resources
from tasks.safeguards import Meter, cost_of
from tasks.usual import read_usual, write_usual

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WELL_KNOWN = {name: Usual(mean=1000.0, seen=100) for name in ("web", "mobile")}
EXAMPLE = Path(__file__).resolve().parents[2] / "deployments" / "config.example"


def safeguard(step: Step, now: datetime) -> Mitigation:
    """One that is being put on."""
    plan = Plan(
        playbook="safeguard",
        incident=None,
        target=step.target,
        steps=(step,),
        undo=("take it away",),
        blast_radius=BlastRadius(service="shop", instances=(), capacity_share=0, capacity_left=1),
        evidence=(),
        needs_approval=False,
        approval_reason="no approval needed",
        expires_after=timedelta(hours=1),
    )
    return Mitigation(
        id=MitigationId("MIT-1"),
        state=MitigationState.APPLYING,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident=None,
        playbook=plan.playbook,
        service="shop",
        target=step.target,
        requested_by="bob",
        created_at=now,
        updated_at=now,
    )


@dataclass
class World:
    proxy: TrialProxy
    actuator: HAProxyActuator
    res: Resources
    now: datetime = NOW

    def put_on(self, action: str, target: str, params: Mapping[str, int], *, most_refused: float | None = None) -> None:
        step = Step(actuator="haproxy", action=action, target=target, params=dict(params))
        book = Playbook(
            name="safeguard",
            description="A safeguard.",
            owner="t",
            matchers=(),
            target_kind="service",
            steps=(),
            recovery=RecoveryRule(signal="time"),
            limits=Limits(most_refused=most_refused),
        )
        self.res = replace(self.res, config=replace(self.res.config, playbooks={book.name: book}))
        made = safeguard(step, self.now)
        with self.res.store.writing() as tx:
            tx.mitigations.add(made)
        assert apply_mitigation(self.res, "MIT-1").state is MitigationState.APPLIED

    @property
    def state(self) -> MitigationState:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get("MIT-1")
        assert found is not None
        return found.state

    def cost(self) -> Cost:
        with self.res.store.reading() as tx:
            found = cost_of(tx, "MIT-1")
        assert found is not None
        return found

    def know(self, usual: Mapping[str, Usual]) -> None:
        with self.res.store.writing() as tx:
            write_usual(tx, "haproxy", usual, self.now)

    def last_word(self) -> str:
        with self.res.store.reading() as tx:
            return tx.timeline.entries()[-1].text


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with TrialProxy(tmp_path) as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        config = Config(
            folder=Path(),
            connections=Connections(store="", prometheus=""),
            catalog=Catalog(services={"shop": Service(name="shop", team="t")}),
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


def send(world: World, client: str, requests: int) -> int:
    """How many of them were refused."""
    return sum(world.proxy.get(client)[0] != 200 for _ in range(requests))


def test_refusals_are_counted_by_client_and_told_apart_by_everyday_use(world: World) -> None:
    world.know({"web": WELL_KNOWN["web"], "mobile": Usual(mean=0.0, seen=100)})
    world.put_on("throttle_all", "global", {"requests_per_second": 10})
    meter = Meter(world.res)
    meter.look()
    refused = {client: send(world, client, 30) for client in ("web", "mobile", "importer")}
    assert all(refused.values())
    meter.look()
    cost = world.cost()
    assert (cost.offered, cost.refused) == (90, sum(refused.values()))
    assert {name: count.refused for name, count in cost.clients.items()} == refused
    assert cost.wrong == refused["web"], "mobile sends more than it ever does, importer is new"
    assert cost.unknown == refused["importer"]


def test_a_limit_on_one_client_is_charged_for_that_client_alone(world: World) -> None:
    world.know(WELL_KNOWN)
    world.put_on("throttle", "client:Web", {"requests_per_second": 5})
    meter = Meter(world.res)
    meter.look()
    refused = send(world, "web", 20)
    send(world, "mobile", 20)
    meter.look()
    assert (world.cost().offered, world.cost().refused) == (20, refused)


def test_a_safeguard_that_costs_too_much_is_lifted_with_its_reason(world: World) -> None:
    """Somebody shed half of everything, and the clients do nothing but what they always do."""
    world.know(WELL_KNOWN)
    world.put_on("shed", "global", {"per_mille": 500}, most_refused=0.1)
    meter = Meter(world.res)
    meter.look()
    send(world, "web", 100)
    meter.look()
    assert world.state is MitigationState.UNDONE
    assert "its cost is over its limit: it refused" in world.last_word()
    assert send(world, "web", 50) == 0


def test_a_safeguard_that_refuses_only_the_flooder_stays(world: World) -> None:
    world.know({"web": WELL_KNOWN["web"], "importer": Usual(mean=0.0, seen=100)})
    world.put_on("throttle", "client:importer", {"requests_per_second": 5}, most_refused=0.01)
    meter = Meter(world.res)
    meter.look()
    assert send(world, "importer", 100) > 80
    assert send(world, "web", 100) == 0
    meter.look()
    assert world.state is MitigationState.APPLIED
    assert world.cost().wrong == 0


def test_a_reload_of_haproxy_does_not_charge_anything_twice(world: World) -> None:
    """Its counters begin anew."""
    world.put_on("throttle_all", "global", {"requests_per_second": 10})
    meter = Meter(world.res)
    meter.look()
    send(world, "web", 30)
    meter.look()
    before = world.cost()
    world.proxy.reload()
    meter.look()
    meter.look()
    assert world.cost().refused == before.refused


def test_two_processes_do_not_charge_the_same_requests_twice(world: World) -> None:
    world.put_on("throttle_all", "global", {"requests_per_second": 10})
    one, other = Meter(world.res, holder="one"), Meter(world.res, holder="other")
    for meter in (one, other):
        meter.look()
    send(world, "web", 30)
    for meter in (one, other):
        meter.look()
    assert world.cost().offered == 30


def test_everyday_use_is_learned_in_calm_times_and_not_while_something_is_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.safeguards._LEARN_EVERY_SECONDS", 0.2)
    meter = Meter(world.res)
    for _ in range(3):
        meter.look()
        send(world, "web", 10)
        time.sleep(0.25)
    with world.res.store.reading() as tx:
        known = read_usual(tx, "haproxy")
    assert known["web"].mean > 5
    world.put_on("throttle_all", "global", {"requests_per_second": 1000})
    for _ in range(3):
        meter.look()
        send(world, "flooder", 10)
        time.sleep(0.25)
    with world.res.store.reading() as tx:
        assert "flooder" not in read_usual(tx, "haproxy")


def test_the_command_line_shows_what_a_safeguard_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = SqlStore(f"sqlite:///{tmp_path}/record.db")
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.CONTAINED,
        severity=Severity.MAJOR,
        title="too many requests",
        service="storefront",
        onset_at=NOW,
        opened_at=NOW,
        updated_at=NOW,
        opened_because="test",
        opened_by="test",
    )
    cost = Cost(offered=500, refused=40, legitimate=300, wrong=3)
    with store.writing() as tx:
        tx.incidents.add(incident)
        step = Step(actuator="haproxy", action="shed", target="global", params={"per_mille": 100})
        tx.mitigations.add(replace(safeguard(step, NOW), incident="INC-1"))
        tx.documents.put(Document(id=cost_document("MIT-1"), kind="cost", updated_at=NOW, body=write_cost(cost)))
    store.close()
    shutil.copytree(EXAMPLE, tmp_path / "config")
    toml = tmp_path / "config" / "quell.toml"
    toml.write_text(re.sub(r'store = ".*"', f'store = "sqlite:///{tmp_path}/record.db"', toml.read_text()))
    said = CliRunner().invoke(app, ["incident", "show", "INC-1", "--config", str(tmp_path / "config")]).output
    assert "refused 40 of 500 requests since it is on; wrongly 3 of 300 within everyday use (1.0%)" in said
