"""The life of a mitigation on a real store and a real HAProxy; only the users' signal is made up."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pyotp
import pytest

from deployments.gateway import build_app, serving
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.incidents.errors import InvalidInput, QuellError, Refused, Unavailable
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import verify_chain
from tasks.approval import decide
from tasks.automation import set_automation
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.levers import live_capacity
from tasks.planning import plan_for_incident, plan_manual
from tasks.reconciliation import reconcile_all
from tasks.recovery import judge_recovery
from tasks.resources import Resources

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
SERVER = "be_checkout/checkout-2"


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class UsersSignal:
    """The users' error ratio as a function of time; it answers every query."""

    at: Callable[[float], float] = field(default=lambda _t: float("nan"))

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.array([self.at(t) for t in times], dtype=float).reshape(-1, 1)
        return SeriesMatrix(timestamps=times, values=values, labels=({},))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        raise NotImplementedError


class Breakable(HAProxyActuator):
    """HAProxy, with methods that can be told to fail."""

    broken: frozenset[str] = frozenset()

    def apply(self, step: Step) -> None:
        if "apply" in self.broken:
            raise Unavailable("haproxy went away")
        super().apply(step)

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        if "undo" in self.broken:
            raise Unavailable("haproxy went away")
        super().undo(step, state_before)


@dataclass
class World:
    res: Resources
    clock: Clock
    signal: UsersSignal
    actuator: Breakable
    proxy: TrialProxy
    secrets: dict[str, str]

    def code(self, person: str) -> str:
        return pyotp.TOTP(self.secrets[person]).at(self.clock.now)

    def decide(self, mitigation: Mitigation, person: str = "alice", answer: str = "approve", **other: str):
        given = {"plan_hash": mitigation.plan_hash, "code": self.code(person) if person in self.secrets else "000000"}
        given |= {"comment": "", "channel": "page", **other}
        return decide(self.res, subject=mitigation.id, person=person, answer=answer, **given)  # type: ignore[arg-type]

    def proof(self, person: str) -> dict[str, str]:
        return {"person": person, "code": pyotp.TOTP(self.secrets[person]).at(self.clock())}

    def incident(self) -> Incident:
        with self.res.store.reading() as tx:
            found = tx.incidents.get("INC-1")
        assert found is not None
        return found

    def mitigation(self, id: str) -> Mitigation:
        with self.res.store.reading() as tx:
            found = tx.mitigations.get(id)
        assert found is not None
        return found

    def kinds(self) -> list[str]:
        with self.res.store.reading() as tx:
            return [entry.kind for entry in tx.timeline.entries()]

    def journal(self) -> list[JournalState]:
        with self.res.store.reading() as tx:
            return [entry.state for entry in tx.journal.find()]

    @property
    def is_drained(self) -> bool:
        return self.actuator.capacity([SERVER])[SERVER] == 0.0

    def manual(self, target: str = "checkout-2", by: str = "bob") -> Mitigation:
        return plan_manual(self.res, "isolate-bad-instance", "checkout", target, None, by, "test")

    def applied(self) -> Mitigation:
        planned = plan_for_incident(self.res, "INC-1")
        assert planned is not None
        self.decide(planned)
        return apply_mitigation(self.res, planned.id)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    secrets = {name: pyotp.random_base32() for name in ("alice", "bob", "carol")}
    for name, secret in secrets.items():
        (tmp_path / f"{name}.totp").write_text(secret)
    config = load_config(EXAMPLE)
    people = {
        n: replace(p, totp_secret=f"file:{tmp_path / n}.totp", password_hash="") for n, p in config.people.items()
    }
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    with TrialProxy(tmp_path / "proxy") as proxy:
        actuator = Breakable(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        clock, signal = Clock(), UsersSignal()
        res = Resources(
            config=replace(config, sources=None, people=people),
            store=store,
            metrics=signal,
            actuators={"haproxy": actuator},
            clock=clock,
        )
        _open_incident(res)
        yield World(res=res, clock=clock, signal=signal, actuator=actuator, proxy=proxy, secrets=secrets)
        with store.reading() as tx:
            assert verify_chain(tx.timeline.entries()) == []
    store.close()


def _open_incident(res: Resources) -> None:
    now = res.clock()
    incident = Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.TRIAGED,
        severity=Severity.CRITICAL,
        title="checkout-2 fails",
        service="checkout",
        onset_at=now - timedelta(seconds=30),
        opened_at=now,
        updated_at=now,
        opened_because="test",
        opened_by="sweep",
        suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="its errors rose first"),),
    )
    with res.store.writing() as tx:
        tx.incidents.add(incident)


def _bad_until(moment: datetime) -> Callable[[float], float]:
    return lambda t: 0.3 if t <= moment.timestamp() else 0.0


def test_a_plan_that_only_asks_a_hook_still_knows_what_serves(world: World) -> None:
    """Else its summary says that nothing of the service is left. A balancer that is away is no obstacle to a hook."""

    class Hook:
        def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
            return {}

    checkout = world.res.config.catalog.services["checkout"]
    res = replace(world.res, actuators={"flags": Hook(), **world.res.actuators})  # type: ignore[dict-item]
    assert live_capacity(res, checkout, ["flags"]) == {f"be_checkout/checkout-{n}": 1.0 for n in (1, 2, 3)}
    away = Breakable(socket="/nowhere", maps=None, state_file=None)
    res = replace(world.res, actuators={"flags": Hook(), "haproxy": away})  # type: ignore[dict-item]
    assert live_capacity(res, checkout, ["flags"]) == {}
    with pytest.raises(Unavailable):
        live_capacity(res, checkout, ["haproxy"])


def test_from_plan_to_containment_to_release(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None and planned.state is MitigationState.AWAITING_APPROVAL
    assert world.incident().state is IncidentState.MITIGATING
    assert not world.is_drained
    decision = world.decide(planned, comment="go")
    assert decision.person == "alice" and world.incident().acknowledged_at is not None
    applied = apply_mitigation(world.res, planned.id)
    assert applied.state is MitigationState.APPLIED and applied.approved_by == "alice"
    assert world.is_drained and world.journal() == [JournalState.DONE]
    with world.res.store.reading() as tx:
        keys = [entry.step.key for entry in tx.journal.find()]
    assert keys == [f"MIT-1/1@{planned.created_at:%Y%m%dT%H%M%SZ}"]
    world.signal.at = _bad_until(world.clock.now)
    judged = judge_recovery(world.res, planned.id, sleep=world.clock.sleep)
    assert judged.state is MitigationState.EFFECTIVE
    assert world.incident().state is IncidentState.CONTAINED
    undone = undo_mitigation(world.res, planned.id, "bob", "the cause is mended")
    assert undone.state is MitigationState.UNDONE and not world.is_drained
    assert world.journal() == [JournalState.UNDONE]
    assert world.incident().state is IncidentState.TRIAGED
    kinds = world.kinds()
    assert kinds.index("effect intended") < kinds.index("effect done") < kinds.index("mitigation applied")


def test_planning_again_gives_the_same_mitigation(world: World) -> None:
    first, second = plan_for_incident(world.res, "INC-1"), plan_for_incident(world.res, "INC-1")
    assert first is not None and second is not None and first.id == second.id


def test_the_same_run_asking_again_gets_its_own_mitigation(world: World) -> None:
    ask = ("isolate-bad-instance", "checkout", "checkout-2", None, "bob", "test")
    first = plan_manual(world.res, *ask, flow_run="run-1")
    assert plan_manual(world.res, *ask, flow_run="run-1").id == first.id
    with pytest.raises(Refused, match="one mitigation per target"):
        plan_manual(world.res, *ask, flow_run="run-2")


def test_nothing_is_touched_without_an_approval(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    with pytest.raises(Refused, match="needs an approval"):
        apply_mitigation(world.res, planned.id)
    assert not world.is_drained and world.journal() == []


@pytest.mark.parametrize(
    ("person", "other", "rule"),
    [
        ("mallory", {}, "known person"),
        ("carol", {}, "role"),
        ("bob", {}, "four eyes"),
        ("alice", {"plan_hash": "f" * 64}, "plan hash"),
        ("alice", {"code": "000000"}, "one-time code"),
    ],
)
def test_an_answer_that_does_not_count_changes_nothing_and_is_on_the_timeline(
    world: World, person: str, other: dict[str, str], rule: str
) -> None:
    mitigation = world.manual(by="bob")
    with pytest.raises(Refused) as caught:
        world.decide(mitigation, person, **other)
    assert caught.value.rule == rule
    assert "decision rejected" in world.kinds()
    with pytest.raises(Refused):
        apply_mitigation(world.res, mitigation.id)


def test_a_code_works_once_even_on_another_plan(world: World) -> None:
    first = world.manual("checkout-1")
    world.decide(first, answer="refuse")
    world.clock.sleep(21)
    reconcile_all(world.res)
    second = world.manual("checkout-2")
    world.clock.sleep(-21)  # the same time step again
    with pytest.raises(Refused, match="already used"):
        world.decide(second)


def test_guessing_codes_is_stopped_and_the_right_one_does_not_help_then(world: World) -> None:
    mitigation = world.manual()
    for _ in range(5):
        with pytest.raises(Refused, match="wrong or expired"):
            world.decide(mitigation, code="000000")
    with pytest.raises(Refused, match="wrong codes"):
        world.decide(mitigation)


def test_an_answer_after_the_deadline_does_not_count_and_the_plan_expires(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    world.clock.sleep(15 * 60 + 1)
    with pytest.raises(Refused, match="deadline"):
        world.decide(planned)
    assert reconcile_all(world.res)
    assert world.mitigation(planned.id).state is MitigationState.EXPIRED
    assert world.incident().state is IncidentState.TRIAGED
    assert "handed to a person" in world.kinds()


def test_a_refused_plan_ends_untouched(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    world.decide(planned, answer="refuse", comment="not now")
    with pytest.raises(Refused):
        apply_mitigation(world.res, planned.id)
    world.clock.sleep(21)
    reconcile_all(world.res)
    assert world.mitigation(planned.id).state is MitigationState.REFUSED
    assert world.incident().state is IncidentState.TRIAGED and not world.is_drained


def test_an_approved_plan_whose_run_is_dead_is_applied_by_reconciliation(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    world.decide(planned)
    assert reconcile_all(world.res) == []
    world.clock.sleep(21)
    assert reconcile_all(world.res)
    assert world.mitigation(planned.id).state is MitigationState.APPLIED and world.is_drained


@pytest.mark.parametrize("state", ["still bad", "no data"])
def test_what_did_not_help_is_not_called_effective(world: World, state: str) -> None:
    applied = world.applied()
    world.signal.at = (lambda _t: 0.3) if state == "still bad" else (lambda _t: float("nan"))
    judged = judge_recovery(world.res, applied.id, sleep=world.clock.sleep)
    expected = MitigationState.INEFFECTIVE if state == "still bad" else MitigationState.INCONCLUSIVE
    assert judged.state is expected
    world.clock.sleep(21)  # the process that judged is gone before it could undo
    reconcile_all(world.res)
    assert world.mitigation(applied.id).state is MitigationState.UNDONE and not world.is_drained
    assert world.incident().state is IncidentState.TRIAGED


def test_reconciliation_judges_what_nobody_judges(world: World) -> None:
    applied = world.applied()
    world.signal.at = _bad_until(world.clock.now)
    world.clock.sleep(25)
    said = reconcile_all(world.res)
    assert said == [f"{applied.id} was applied and is effective: the process that should judge it is gone"]


def test_the_kill_switch_stops_the_next_effect_and_not_the_undo(world: World) -> None:
    applied = world.applied()
    set_automation(world.res, False, "bob", "looking into it")
    with pytest.raises(Refused, match="kill switch"):
        world.manual("checkout-1")
    assert undo_mitigation(world.res, applied.id, "bob", "enough").state is MitigationState.UNDONE
    assert not world.is_drained


def test_the_kill_switch_stops_what_was_approved_already(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    world.decide(planned)
    set_automation(world.res, False, "bob", "looking into it")
    assert apply_mitigation(world.res, planned.id).state is MitigationState.REFUSED
    assert not world.is_drained


def test_guardrails_are_asked_again_right_before_the_effect(world: World) -> None:
    planned = plan_for_incident(world.res, "INC-1")
    assert planned is not None
    world.decide(planned)
    world.actuator.apply(Step(actuator="haproxy", action="isolate", target="be_checkout/checkout-1"))  # by hand
    refused = apply_mitigation(world.res, planned.id)
    assert refused.state is MitigationState.REFUSED and not world.is_drained


def test_a_step_that_fails_is_undone(world: World) -> None:
    world.actuator.broken = frozenset({"apply"})
    applied = world.applied()
    assert applied.state is MitigationState.UNDONE
    assert world.incident().state is IncidentState.TRIAGED and not world.is_drained


def test_an_undo_that_fails_is_said_and_tried_again(world: World) -> None:
    applied = world.applied()
    world.actuator.broken = frozenset({"undo"})
    assert undo_mitigation(world.res, applied.id, "bob", "enough").state is MitigationState.UNDO_FAILED
    assert world.is_drained and world.journal() == [JournalState.UNDO_FAILED]
    world.actuator.broken = frozenset()
    world.clock.sleep(21)
    reconcile_all(world.res)
    assert world.mitigation(applied.id).state is MitigationState.UNDONE and not world.is_drained


def test_an_effective_mitigation_that_expires_is_undone(world: World) -> None:
    applied = world.applied()
    world.signal.at = _bad_until(world.clock.now)
    judge_recovery(world.res, applied.id, sleep=world.clock.sleep)
    world.clock.sleep(3600)
    reconcile_all(world.res)
    assert world.mitigation(applied.id).state is MitigationState.UNDOING and not world.is_drained
    for _ in range(3):  # a little more with each pass, as its playbook says
        world.clock.sleep(15)
        reconcile_all(world.res)
    assert world.mitigation(applied.id).state is MitigationState.UNDONE
    assert world.incident().state is IncidentState.TRIAGED


def test_cooldown_keeps_a_target_from_being_touched_again_at_once(world: World) -> None:
    undo_mitigation(world.res, world.applied().id, "bob", "enough")
    with pytest.raises(Refused, match="cooldown"):
        world.manual()
    world.clock.sleep(300)
    assert world.manual().state is MitigationState.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("playbook", "service", "target", "by", "text"),
    [
        ("isolate-bad-instanc", "checkout", "checkout-2", "bob", "did you mean 'isolate-bad-instance'"),
        ("isolate-bad-instance", "chekout", "checkout-2", "bob", "not configured"),
        ("isolate-bad-instance", "checkout", "nowhere-9", "bob", "no instance of checkout"),
        ("isolate-bad-instance", "checkout", "checkout-2", "", "write your name"),
        ("isolate-bad-instance", "checkout", "checkout-2", "quell", "write your name"),
    ],
)
def test_a_request_outside_the_configuration_is_a_clear_error(
    world: World, playbook: str, service: str, target: str, by: str, text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        plan_manual(world.res, playbook, service, target, None, by, "test")


def test_a_proxy_that_is_away_leads_to_no_plan(world: World) -> None:
    gone = HAProxyActuator(socket=str(world.proxy.folder / "gone.sock"), maps=None, state_file=None)
    with pytest.raises(QuellError, match="does not answer"):
        plan_for_incident(replace(world.res, actuators={"haproxy": gone}), "INC-1")
    assert world.incident().state is IncidentState.TRIAGED


_PLANNER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from quell.incidents.errors import Refused
from tasks.planning import plan_manual
from tasks.resources import Resources, utc_now

example, store, socket = sys.argv[1:]
res = Resources(
    config=load_config(Path(example)), store=SqlStore(store), metrics=None, clock=utc_now,
    actuators={"haproxy": HAProxyActuator(socket=socket, maps=None, state_file=None)},
)

def plan(number):
    try:
        target = f"checkout-{number % 3 + 1}"
        return plan_manual(res, "isolate-bad-instance", "checkout", target, None, "bob", "race").id
    except Refused as error:
        return error.rule

with ThreadPoolExecutor(5) as pool:
    print(*pool.map(plan, range(5)), sep="\\n")
"""


def test_twenty_plans_at_once_from_four_processes_never_cross_the_floor(world: World, tmp_path: Path) -> None:
    arguments = [str(EXAMPLE), f"sqlite:///{tmp_path / 'quell.db'}", world.proxy.socket]
    command = [sys.executable, "-c", _PLANNER, *arguments]
    repository = EXAMPLE.parents[1]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) for _ in range(4)]
    answers = [line for process in processes for line in process.communicate(timeout=120)[0].splitlines()]
    planned = [answer for answer in answers if answer.startswith("MIT-")]
    assert len(answers) == 20
    assert len(planned) == 1, answers  # of three servers one may go: two would leave a third, the floor is half
    assert set(answers) - set(planned) <= {"capacity floor", "one mitigation per target"}


@contextmanager
def gateway(res: Resources) -> Iterator[str]:
    with serving(build_app(res)) as url:
        yield url


def test_a_release_from_the_page_gives_the_traffic_back_in_the_real_proxy(world: World) -> None:
    """Who has the role presses the button: the server is ready again in HAProxy, and the record names the person."""
    mitigation = world.applied()
    assert world.is_drained
    with gateway(world.res) as url, httpx.Client(base_url=url) as client:
        csrf = re.findall(r'name="csrf" value="([^"]+)"', client.get("/incidents/INC-1").text)[0]
        form = {"csrf": csrf, "action": "release", "subject": mitigation.id, "why": "the cause is mended"}
        carol = client.post("/incidents/INC-1/act", data={**form, **world.proof("carol")})
        assert carol.status_code == 403 and "carol has analyst, it needs approver" in carol.text
        assert world.is_drained
        bob = client.post("/incidents/INC-1/act", data={**form, **world.proof("bob")}, timeout=30)
        assert bob.status_code == 303, bob.text
    assert not world.is_drained
    assert world.mitigation(mitigation.id).state is MitigationState.UNDONE
    with world.res.store.reading() as tx:
        assert any(entry.by == "bob" and "the cause is mended" in entry.text for entry in tx.timeline.of("INC-1"))


def test_where_nobody_has_a_password_muting_takes_a_name_and_a_code(world: World) -> None:
    with gateway(world.res) as url, httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/silences/new").text
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
        assert 'name="person"' in page and 'name="code"' in page
        form = {"csrf": csrf, "matchers": 'service="checkout"', "lasting": "2h", "why": "a drill"}
        wrong = client.post("/silences/new", data={**form, "person": "bob", "code": "000000"})
        assert wrong.status_code == 403 and "one-time code of bob is wrong" in wrong.text
        right = client.post("/silences/new", data={**form, **world.proof("bob")})
        assert right.status_code == 303, right.text
    with world.res.store.reading() as tx:
        [silence] = tx.silences.find()
    assert (silence.created_by, silence.comment) == ("bob", "a drill")
