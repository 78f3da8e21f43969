"""The response flows on a real Prefect server, a real store and a real HAProxy."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pyotp
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import State
from prefect.testing.utilities import prefect_test_harness

import tasks.drift
import tasks.fix_steps
import tasks.mitigation
import tasks.standing_keep
from deployments.responder import Responder
from deployments.sandbox.trial_proxy import TrialProxy
from flows.response import mitigate, release, respond
from flows.upkeep import reconcile
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.memory import MemoryStore
from quell.config.load import load_config
from quell.incidents.alert import Alert, AlertId, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.labels import Fingerprint
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.series import SeriesMatrix
from quell.incidents.suspect import Suspect
from quell.response.autonomy import Autonomy
from quell.response.playbook import ApprovalPolicy, FleetLimits
from tasks.approval import decide
from tasks.forms import MitigationRequest, ReleaseRequest
from tasks.resources import Resources, utc_now

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
SERVER = "be_checkout/checkout-2"


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


class UsersSignal:
    """The users' error ratio: bad in the first half of whatever is asked for, then `after`."""

    after = 0.0

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.full((len(times), 1), self.after)
        values[: len(times) // 2] = 0.3
        return SeriesMatrix(timestamps=times, values=values, labels=({},))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        raise NotImplementedError


@dataclass
class World:
    res: Resources
    actuator: HAProxyActuator
    signal: UsersSignal
    secrets: dict[str, str]

    @property
    def is_drained(self) -> bool:
        return self.actuator.capacity([SERVER])[SERVER] == 0.0

    def code(self, person: str) -> str:
        return pyotp.TOTP(self.secrets[person]).at(datetime.now(UTC))

    def only(self) -> Mitigation:
        with self.res.store.reading() as tx:
            (found,) = tx.mitigations.find()
        return found

    def incident(self) -> Incident:
        with self.res.store.reading() as tx:
            found = tx.incidents.get("INC-1")
        assert found is not None
        return found

    def needs_two(self) -> None:
        book = self.res.config.playbooks["isolate-bad-instance"]
        strict = replace(book, approval=replace(book.approval, approvers=2))
        self.res = replace(self.res, config=replace(self.res.config, playbooks={strict.name: strict}))

    def decide(self, person: str, channel: str) -> None:
        given = {"person": person, "code": self.code(person), "answer": "approve", "comment": ""}
        decide(self.res, subject="MIT-1", plan_hash=self.only().plan_hash, channel=channel, **given)

    def automatic(self) -> None:
        """Let the playbook act without asking."""
        book = self.res.config.playbooks["isolate-bad-instance"]
        free = replace(book, approval=ApprovalPolicy(above_capacity_share=1.0), autonomy=Autonomy(successes=0))
        trusting = replace(self.res.config, playbooks={free.name: free}, fleet_limits=FleetLimits(evidence_kinds=0))
        self.res = replace(self.res, config=trusting)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    secrets = {name: pyotp.random_base32() for name in ("alice", "bob")}
    for name, secret in secrets.items():
        (tmp_path / f"{name}.totp").write_text(secret)
    config = load_config(EXAMPLE)
    people = {
        n: replace(p, totp_secret=f"file:{tmp_path / n}.totp", password_hash="") for n, p in config.people.items()
    }
    book = config.playbooks["isolate-bad-instance"]
    quick = replace(book, recovery=replace(book.recovery, hold=timedelta(seconds=5), deadline=timedelta(seconds=8)))
    with TrialProxy(tmp_path / "proxy") as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=proxy.state_file)
        signal = UsersSignal()
        res = Resources(
            config=replace(config, sources=None, people=people, playbooks={quick.name: quick}),
            store=MemoryStore(),
            metrics=signal,
            actuators={"haproxy": actuator},
            clock=utc_now,
        )
        world = World(res=res, actuator=actuator, signal=signal, secrets=secrets)
        for module in (tasks.drift, tasks.mitigation, tasks.fix_steps, tasks.standing_keep):
            monkeypatch.setattr(module, "resources", lambda: world.res)
        _open_incident(res)
        yield world


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


class DeployedRun:
    """A run of the deployed `mitigate` flow, executed here as a worker would: it may be suspended and come back."""

    def __init__(self, request: MitigationRequest) -> None:
        self.parameters = {"request": request.model_dump()}
        with get_client(sync_client=True) as client:
            flow_id = client.create_flow(mitigate)
            deployment = client.create_deployment(flow_id, "mitigate")
            self.id = client.create_flow_run_from_deployment(deployment, parameters=self.parameters).id

    def go(self) -> State[Any]:
        """Execute the run from its beginning until it ends or waits."""
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(self.id)
            try:
                return cast(State[Any], run_flow(mitigate, run, self.parameters, return_type="state"))
            except Pause:
                state = client.read_flow_run(self.id).state
                assert state is not None
                return state

    def resume(self, answer: str, person: str, code: str) -> str:
        values = {"answer": answer, "person": person, "one_time_code": code, "comment": "from the test"}
        with get_client(sync_client=True) as client:
            return client.resume_flow_run(UUID(str(self.id)), run_input=values).status.value

    def question(self, asked: int) -> str:
        """What stands above the form of the n-th asking."""
        with get_client(sync_client=True) as client:
            return json.loads(client.read_flow_run_input(self.id, f"suspended-ask-{asked}-description"))

    def is_paused(self) -> bool:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self.id).state
        return state is not None and state.is_paused()

    def name(self) -> str:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id).name

    def artifacts(self) -> str:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.id]))
        with get_client(sync_client=True) as client:
            return "\n".join(str(a.data) for a in client.read_artifacts(artifact_filter=wanted))


def _manual(**fields: Any) -> MitigationRequest:
    given = {
        "service": "checkout",
        "target": "checkout-2",
        "incident": "INC-1",
        "requested_by": "bob",
        "reason": "test",
    }
    return MitigationRequest(**{**given, "dry_run": False, **fields})


def test_what_is_allowed_is_done_in_the_same_run(world: World) -> None:
    world.automatic()
    assert "effective" in respond("INC-1")
    assert world.only().state is MitigationState.EFFECTIVE and world.is_drained
    assert world.incident().state is IncidentState.CONTAINED
    assert world.incident().acknowledged_at is not None
    assert "undone" in release(ReleaseRequest(mitigation="MIT-1", requested_by="bob"))
    assert world.only().state is MitigationState.UNDONE and not world.is_drained


class AtOnce(ThreadPoolExecutor):
    """Runs what it is given before it returns: Prefect's settings of this test belong to this thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        fn(*args, **kwargs)
        return Future()


def _fires(world: World) -> None:
    now = world.res.clock()
    alert = Alert(
        id=AlertId(f"errors-{now.timestamp()}"),
        fingerprint=Fingerprint("errors"),
        status=AlertStatus.FIRING,
        labels={"alertname": "Errors", "service": "checkout", "instance": "checkout-2"},
        annotations={},
        starts_at=now,
        source="alertmanager",
        received_at=now,
        updated_at=now,
        incident="INC-1",
    )
    with world.res.store.writing() as tx:
        tx.alerts.add(alert)


def test_trouble_that_comes_back_after_a_release_is_answered_once_more(world: World) -> None:
    world.automatic()
    book = world.res.config.playbooks["isolate-bad-instance"]
    again = replace(book, limits=replace(book.limits, cooldown=timedelta(0)))
    world.res = replace(world.res, config=replace(world.res.config, playbooks={again.name: again}))
    responder = Responder(world.res, AtOnce(1))
    _fires(world)
    responder.advance()
    assert world.is_drained
    release(ReleaseRequest(mitigation="MIT-1", requested_by="bob", at_once=True))
    responder.advance()
    assert not world.is_drained, "nothing has fired since"
    _fires(world)
    responder.advance()
    with world.res.store.reading() as tx:
        assert [m.state for m in tx.mitigations.find()] == [MitigationState.UNDONE, MitigationState.EFFECTIVE]
    assert world.is_drained
    release(ReleaseRequest(mitigation="MIT-2", requested_by="bob", at_once=True))
    responder.advance()
    assert not world.is_drained


def test_an_incident_that_nothing_answered_is_answered_again_when_the_evidence_is_another(world: World) -> None:
    """A sweep opened it before the alert came that says who it is."""
    world.automatic()
    responder, suspects = Responder(world.res, AtOnce(1)), world.incident().suspects
    with world.res.store.writing() as tx:
        tx.incidents.put(replace(world.incident(), suspects=()))
    for _ in range(3):
        responder.advance()
    with world.res.store.reading() as tx:
        refused = [entry for entry in tx.timeline.of("INC-1") if entry.kind == "plan refused"]
    assert len(refused) == 1 and not world.is_drained, "the same evidence is answered once"
    with world.res.store.writing() as tx:
        tx.incidents.put(replace(world.incident(), suspects=suspects))
    responder.advance()
    assert world.is_drained and world.only().state is MitigationState.EFFECTIVE


def test_new_evidence_is_answered_a_few_times_at_most(world: World) -> None:
    responder = Responder(world.res, AtOnce(1))
    for n in range(12):
        with world.res.store.writing() as tx:
            tx.incidents.put(replace(world.incident(), suspects=(), keywords=(f"alert-{n}",)))
        responder.advance()
    with world.res.store.reading() as tx:
        assert sum(entry.kind == "plan refused" for entry in tx.timeline.of("INC-1")) == 6


def test_what_never_helped_is_not_tried_again_by_itself(world: World) -> None:
    world.automatic()
    world.signal.after = 0.3
    responder = Responder(world.res, AtOnce(1))
    for _ in range(2):
        _fires(world)
        responder.advance()
    assert world.only().state is MitigationState.UNDONE and not world.is_drained


def test_what_did_not_help_is_undone_and_the_run_says_so(world: World) -> None:
    world.automatic()
    world.signal.after = 0.3
    assert "undone" in respond("INC-1")
    assert world.only().state is MitigationState.UNDONE and not world.is_drained
    assert world.incident().state is IncidentState.TRIAGED


def test_an_incident_that_no_playbook_answers_gets_its_reason(world: World) -> None:
    with world.res.store.writing() as tx:
        tx.incidents.put(replace(world.incident(), suspects=()))
    assert "nothing is planned" in respond("INC-1")
    with world.res.store.reading() as tx:
        assert "no playbook applies" in tx.timeline.of("INC-1")[-1].text


def test_a_dry_run_shows_the_plan_and_touches_nothing(world: World) -> None:
    run = DeployedRun(_manual(dry_run=True))
    assert run.go().is_completed()
    assert not world.is_drained
    assert "would be allowed" in run.artifacts() and "drain be_checkout/checkout-2" in run.artifacts()
    assert "![users: shop-error-ratio, limit 2 %](data:image/svg+xml;base64," in run.artifacts()
    with world.res.store.reading() as tx:
        assert tx.mitigations.find() == []


def test_a_run_waits_for_a_person_and_goes_on_after_the_right_answer_only(world: World) -> None:
    run = DeployedRun(_manual())
    assert run.go().is_paused() and world.only().state is MitigationState.AWAITING_APPROVAL
    for text in (run.question(1), run.artifacts()):
        assert "![users: shop-error-ratio, limit 2 %](data:image/svg+xml;base64," in text
    assert run.name() == "mitigate INC-1 isolate checkout-2"
    for answer, person, code in (
        ("approve", "alice", "000000"),
        ("approve", "bob", world.code("bob")),
        ("approve", "mallory", "123456"),
    ):
        assert run.resume(answer, person, code) == "ACCEPT"  # Prefect takes it, Quell does not
        assert run.go().is_paused()
        assert not world.is_drained
    assert run.resume("approve", "alice", world.code("alice")) == "ACCEPT"
    assert run.go().is_completed()
    assert world.only().state is MitigationState.EFFECTIVE and world.is_drained
    assert world.only().approved_by == "alice"
    assert "mermaid" in run.artifacts() and "data:image/svg+xml" in run.artifacts()
    assert run.artifacts().count("### Plan: isolate checkout-2") == 1  # however often the run began from the top


def test_a_refusal_ends_the_run_completed_and_untouched(world: World) -> None:
    run = DeployedRun(_manual())
    run.go()
    run.resume("refuse", "alice", world.code("alice"))
    state = run.go()
    assert state.is_completed() and "refused" in str(state.result())
    assert world.only().state is MitigationState.REFUSED and not world.is_drained
    assert world.incident().state is IncidentState.TRIAGED


def test_a_code_counts_from_when_it_was_sent_however_long_the_run_takes_to_wake(world: World) -> None:
    """A loaded worker took 40 s to start the resumed run, and the approver's good code was refused as too old."""
    run = DeployedRun(_manual())
    run.go()
    run.resume("refuse", "alice", world.code("alice"))
    world.res = replace(world.res, clock=lambda: utc_now() + timedelta(minutes=2))
    assert run.go().is_completed() and world.only().state is MitigationState.REFUSED


def test_an_answer_given_on_the_page_counts_when_the_run_wakes(world: World) -> None:
    run = DeployedRun(_manual())
    run.go()
    decide(
        world.res,
        subject="MIT-1",
        plan_hash=world.only().plan_hash,
        person="alice",
        code=world.code("alice"),
        answer="approve",
        comment="",
        channel="page",
    )
    assert run.resume("approve", "alice", "") == "ACCEPT"
    assert run.go().is_completed() and world.only().state is MitigationState.EFFECTIVE


def test_the_resume_button_without_a_decision_goes_nowhere(world: World) -> None:
    run = DeployedRun(_manual())
    run.go()
    run.resume("approve", "alice", "")
    assert run.go().is_paused() and not world.is_drained


def test_a_question_that_nobody_answered_is_ended_by_reconcile_and_its_run_completes(world: World) -> None:
    run = DeployedRun(_manual())
    run.go()
    world.res = replace(world.res, clock=lambda: utc_now() + timedelta(minutes=16))
    assert "expired" in reconcile()
    assert run.go().is_completed()
    assert world.only().state is MitigationState.EXPIRED and not world.is_drained


def test_a_run_that_is_stopped_while_it_judges_takes_its_effect_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.automatic()

    def stopped(*_: object) -> Mitigation:
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks.mitigation, "judge_recovery", stopped)
    with pytest.raises(KeyboardInterrupt):
        respond("INC-1")
    assert world.only().state is MitigationState.UNDONE and not world.is_drained


def test_a_target_outside_the_configuration_is_said_clearly(world: World) -> None:
    state = DeployedRun(_manual(target="checkout-9")).go()
    assert state.is_failed() and "no instance of checkout" in str(state.message)


def test_the_dialog_asks_the_second_person_anew(world: World) -> None:
    """Each asking has a key of its own in Prefect, or the first answer would be taken for the second."""
    world.needs_two()
    run = DeployedRun(_manual(requested_by="carol"))
    assert run.go().is_paused()
    assert "0 of 2 approvals, waiting for 2 persons" in run.question(1)
    assert run.resume("approve", "alice", world.code("alice")) == "ACCEPT"
    assert run.go().is_paused() and not world.is_drained
    assert "1 of 2 approvals (alice), waiting for another person" in run.question(2)
    assert run.resume("approve", "bob", world.code("bob")) == "ACCEPT"
    assert run.go().is_completed()
    assert world.only().state is MitigationState.EFFECTIVE and world.only().approved_by == "alice, bob"


def test_an_answer_given_on_the_page_is_the_first_of_two_and_the_dialog_says_so(world: World) -> None:
    world.needs_two()
    run = DeployedRun(_manual(requested_by="carol"))
    run.go()
    world.decide("alice", channel="page")
    responder = Responder(world.res, ThreadPoolExecutor(1))
    with world.res.store.writing() as tx:
        tx.mitigations.put(replace(world.only(), flow_run=str(run.id)))
    responder.resume()
    assert run.go().is_paused() and "1 of 2 approvals (alice)" in run.question(2)
    responder.resume()  # once is enough: nothing is new
    assert run.is_paused() and not world.is_drained
    assert run.resume("approve", "bob", world.code("bob")) == "ACCEPT"
    assert run.go().is_completed() and world.only().approved_by == "alice, bob"
