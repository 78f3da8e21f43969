"""A resolution on a real git repository: a load balancer that obeys HAProxy's rules, counters that follow the file."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.change import Change, ChangeKind
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import (
    BlastRadius,
    Mitigation,
    MitigationId,
    MitigationState,
    Plan,
    Step,
    plan_hash,
)
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.suspect import Suspect
from quell.response.fix_approval import FixPolicy, Undoing
from quell.response.playbook import Playbook, RecoveryRule
from tasks.resources import Resources

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FILE = "services/checkout-2.yaml"
GOOD, BAD = "payment_timeout_ms: 800\nretries: 1\n", "payment_timeout_ms: 5\nretries: 1\n"
SERVERS = tuple(f"be_checkout/checkout-{n}" for n in (1, 2, 3))
SERVER = SERVERS[1]


@dataclass
class Balancer:
    """Servers with an administrative state and a weight, as HAProxy's runtime API shows them."""

    name: str = "haproxy"
    states: dict[str, dict[str, str]] = field(
        default_factory=lambda: {s: {"admin_state": "ready", "weight": "100"} for s in SERVERS}
    )
    log: list[str] = field(default_factory=list)

    def actions(self) -> Mapping[str, str]:
        return {"isolate": "", "weight": ""}

    def describe(self, step: Step) -> str:
        return step.action

    def describe_undo(self, step: Step) -> str:
        return step.action

    def read_state(self, step: Step) -> Mapping[str, str]:
        return dict(self.states[step.target])

    def apply(self, step: Step) -> None:
        self.log.append(f"{step.action} {step.target}")
        change = {"admin_state": "drain"} if step.action == "isolate" else {"weight": str(step.params["weight"])}
        self.states[step.target].update(change)

    def verify(self, step: Step) -> bool:
        found = self.states[step.target]
        return (
            found["admin_state"] == "drain"
            if step.action == "isolate"
            else found["weight"] == str(step.params["weight"])
        )

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self.states[step.target] = dict(state_before)

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        return self.states[step.target] == dict(state_before)

    def witness(self, step: Step) -> str:
        return ""

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
        return {t: float(self.states[t]["admin_state"] == "ready") for t in service_targets}


@dataclass
class World:
    """A clock that moves when somebody sleeps, and traffic that is served by weight while it moves."""

    folder: Path
    balancer: Balancer = field(default_factory=Balancer)
    now: datetime = START
    rate: float = 30.0
    broken_anyway: bool = False  # the fix does not help
    counters: dict[tuple[str, str], float] = field(
        default_factory=lambda: {(s, c): 0.0 for s in SERVERS for c in ("2xx", "5xx")}
    )
    user_error_ratio: float = 0.0

    def clock(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        ready = {s: int(v["weight"]) for s, v in self.balancer.states.items() if v["admin_state"] == "ready"}
        for server, weight in ready.items():
            served = self.rate * seconds * weight / sum(ready.values())
            is_bad = server == SERVER and (self.broken_anyway or (self.folder / FILE).read_text() == BAD)
            self.counters[server, "5xx" if is_bad else "2xx"] += served

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert query == 'haproxy_server_http_responses_total{proxy="be_checkout"}'
        labels = tuple({"server": s.partition("/")[2], "code": c} for s, c in self.counters)
        values = np.array([list(self.counters.values())])
        return SeriesMatrix(timestamps=np.array([self.now.timestamp()]), values=values, labels=labels)

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.full((len(times), 1), self.user_error_ratio)
        return SeriesMatrix(timestamps=times, values=values, labels=({},))


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=dana", "-c", "user.email=dana@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


def save(folder: Path, files: Mapping[str, str], subject: str) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


def make_world(tmp_path: Path) -> World:
    """A repository with three instances' files, of which the last commit made one bad."""
    folder = tmp_path / "shop"
    git(tmp_path, "init", "--quiet", "-b", "main", "shop")
    save(folder, {f"services/checkout-{n}.yaml": GOOD for n in (1, 2, 3)}, "first")
    save(folder, {FILE: BAD}, "checkout-2: fail faster")
    return World(folder=folder)


def make_resources(world: World, *, remote: str = "") -> Resources:
    """Fixes go without approval, where a test does not say otherwise."""
    instances = tuple(Instance(name=s.partition("/")[2], service="checkout", server=s) for s in SERVERS)
    repository = ConfigRepository(
        path=str(world.folder),
        remote=remote,
        files={i.name: f"services/{i.name}.yaml" for i in instances},
        validate=("grep", "-q", "payment_timeout_ms", "{file}"),
        reload=("grep", "-q", "payment_timeout_ms", FILE),
    )
    service = Service(name="checkout", team="shop", instances=instances, repository=repository)
    signal = Signal(
        name="shop-error-ratio",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=5),
        is_user_facing=True,
    )
    playbook = Playbook(
        name="isolate",
        description="",
        owner="",
        matchers=(),
        target_kind="instance",
        steps=(),
        recovery=RecoveryRule(signal=signal.name, below=0.02),
    )
    config = Config(
        folder=world.folder,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": service}),
        signals={signal.name: signal},
        playbooks={playbook.name: playbook},
        fixes=FixPolicy(undo=Undoing.AUTOMATIC),
    )
    return Resources(
        config=config, store=MemoryStore(), metrics=world, actuators={"haproxy": world.balancer}, clock=world.clock
    )


STEP = Step(actuator="haproxy", action="isolate", target=SERVER)


def bad_change(commit: str) -> Change:
    return Change(
        id="CHG-1",
        kind=ChangeKind.CONFIG,
        service="checkout",
        instance="checkout-2",
        summary="fail faster",
        at=START - timedelta(seconds=100),
        commit=commit,
        received_at=START,
    )


def contained_incident() -> Incident:
    return Incident(
        id=IncidentId("INC-1"),
        state=IncidentState.CONTAINED,
        severity=Severity.CRITICAL,
        title="checkout",
        service="checkout",
        onset_at=START - timedelta(seconds=90),
        opened_at=START - timedelta(seconds=60),
        updated_at=START,
        opened_because="",
        opened_by="sweep",
        changes=("CHG-1",),
        suspects=(Suspect(node="checkout-2", metric="errors", score=0.9, reason="", change="CHG-1"),),
        contained_at=START,
    )


def isolating_mitigation() -> Mitigation:
    taken = BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=0.33, capacity_left=0.67)
    plan = Plan(
        playbook="isolate",
        incident="INC-1",
        target="checkout-2",
        steps=(STEP,),
        undo=("ready",),
        blast_radius=taken,
        evidence=(),
        needs_approval=False,
        approval_reason="",
        expires_after=timedelta(hours=1),
    )
    return Mitigation(
        id=MitigationId("MIT-1"),
        state=MitigationState.EFFECTIVE,
        plan=plan,
        plan_hash=plan_hash(plan),
        incident="INC-1",
        playbook="isolate",
        service="checkout",
        target="checkout-2",
        requested_by="quell",
        created_at=START,
        updated_at=START,
        applied_at=START,
    )


def add_incident(res: Resources, world: World) -> str:
    """A contained incident: checkout-2 is drained by MIT-1, the change that caused it is linked."""
    entry = JournalEntry(
        id="MIT-1/1",
        mitigation="MIT-1",
        position=1,
        step=STEP,
        state=JournalState.DONE,
        holder="x",
        state_before={"admin_state": "ready", "weight": "100"},
        intended_at=START,
    )
    with res.store.writing() as tx:
        tx.changes.add(bad_change(git(world.folder, "rev-parse", "HEAD")))
        tx.incidents.add(contained_incident())
        tx.mitigations.add(isolating_mitigation())
        tx.journal.add(entry)
    world.balancer.apply(STEP)
    return "INC-1"
