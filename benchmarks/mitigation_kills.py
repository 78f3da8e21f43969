"""kill -9 at every boundary of a mitigation's life: what a process leaves at any line, the next one settles.

A victim does one piece of work (answer an incident, mitigate, undo, release a little at a time, reconcile) and stops at
one boundary: before or after one commit of the store, before or after one call of an actuator that changes something.
There it is killed. The boundaries are not chosen: the work is run once to count them. Victims are forked from a process
that has loaded their code. HAProxy, store, command and lease are the real ones; only the users' signal is made up.

The plan has three steps: two servers are isolated side by side, then a command notes its idempotency key in a log, so
that an effect which is carried out twice is seen.
"""

import multiprocessing
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.command import make_command
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.journal import JournalState
from quell.incidents.matcher import parse_matchers
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import verify_chain
from quell.ports import Actuator, Store, Transaction
from quell.response.autonomy import Autonomy
from quell.response.playbook import ApprovalPolicy, FleetLimits, Limits, Playbook, RecoveryRule, StepTemplate
from quell.response.release import ReleaseRule
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.keeping import keep_in_force
from tasks.planning import plan_for_incident, plan_manual
from tasks.reconciliation import reconcile_all
from tasks.record import get_mitigation, move
from tasks.recovery import judge_once
from tasks.release import release_mitigation
from tasks.resources import Resources

SERVERS = tuple(f"be_checkout/checkout-{n}" for n in (1, 2, 3))
ZONE = "a"  # checkout-1 and checkout-2
PASSES = (25.0, 40.0, 55.0)  # seconds after the death; `reconcile` runs every 15 s, leases last 20 s
REST = (MitigationState.EFFECTIVE, MitigationState.UNDONE, MitigationState.REFUSED, MitigationState.EXPIRED)
WORKS = ("respond", "mitigate", "undo", "release", "reconcile apply", "reconcile undo")
_ANSWER_SECONDS = 60
_CASE_SECONDS = 180.0
_LOG = """
import sys
verb, key, log = sys.argv[1:]
lines = open(log).read().split("\\n")
state = next((line.split()[0] for line in reversed(lines) if line), "undo")
if verb == "state":
    print(f"noted={'yes' if state == 'apply' else 'no'}")
elif verb == "is":
    sys.exit(int(state != "apply"))
else:
    open(log, "a").write(f"{verb} {key}\\n")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where everything is, and from when on users are well."""

    store: str
    folder: Path
    socket: str
    well_from: float = 0.0
    later: float = 0.0  # seconds by which the clock is ahead

    @property
    def log(self) -> Path:
        return self.folder / "effects.log"


@dataclass(slots=True, kw_only=True)
class Boundaries:
    """Counts the boundaries, and stops for good at one of them."""

    stop_at: int = 0
    stop_on: str = ""  # or at the first boundary of this name
    disturb: Callable[[], None] | None = None  # what happens there instead of stopping
    jump: float = 0.0  # seconds by which the process's clock is wrong from then on
    names: list[str] = field(default_factory=list[str])
    tell: Callable[[str], None] = print
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, name: str) -> None:
        with self._lock:
            self.names.append(name)
            is_here = len(self.names) == self.stop_at or (name == self.stop_on and self.names.count(name) == 1)
        if is_here and self.disturb is not None:
            self.disturb()
        elif is_here:
            self.tell(name)
            time.sleep(_ANSWER_SECONDS * 2)


class StoppingStore:
    """A store with a boundary before and after each commit."""

    def __init__(self, store: Store, boundaries: Boundaries) -> None:
        self._store = store
        self._boundaries = boundaries
        self._commits = 0

    @contextmanager
    def writing(self) -> Generator[Transaction]:
        with self._store.writing() as tx:
            yield tx
            self._commits += 1
            number = self._commits
            self._boundaries.reach(f"before commit {number}")
        self._boundaries.reach(f"after commit {number}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class StoppingActuator:
    """An actuator with a boundary before and after each call that changes something."""

    def __init__(self, actuator: Actuator, boundaries: Boundaries) -> None:
        self._actuator = actuator
        self._boundaries = boundaries

    def apply(self, step: Step) -> None:
        self._around(f"{step.action}", lambda: self._actuator.apply(step))

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._around(f"undo of {step.action}", lambda: self._actuator.undo(step, state_before))

    def ease(self, step: Step, state_before: Mapping[str, str], share: float) -> None:
        self._around(f"{share:.0%} of {step.action}", lambda: self._actuator.ease(step, state_before, share))  # type: ignore[attr-defined]

    def can_ease(self, step: Step) -> bool:
        return bool(getattr(self._actuator, "can_ease", lambda _step: False)(step))

    def _around(self, what: str, call: Callable[[], None]) -> None:
        self._boundaries.reach(f"before {what}")
        call()
        self._boundaries.reach(f"after {what}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actuator, name)


class UsersSignal:
    """The users' error ratio: bad until some moment, then well."""

    def __init__(self, well_from: float) -> None:
        self._well_from = well_from

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:  # noqa: ARG002
        times = np.arange(start.timestamp(), end.timestamp() + 0.001, step.total_seconds())
        values = np.where(times < self._well_from, 0.3, 0.0).reshape(-1, 1)
        return SeriesMatrix(timestamps=times, values=values, labels=({},))


def resources(ground: Ground, boundaries: Boundaries | None = None) -> Resources:
    """What a process works with; with `boundaries` it can be stopped at one of them."""
    proxy = HAProxyActuator(
        socket=ground.socket, maps=ground.folder / "maps", state_file=ground.folder / "server-state"
    )
    note = make_command("log", _log_settings(ground), Config(folder=ground.folder, connections=_connections(ground)))
    actuators: dict[str, Any] = {"haproxy": proxy, "log": note}
    store: Any = SqlStore(ground.store)
    if boundaries is not None:
        store = StoppingStore(store, boundaries)
        actuators = {name: StoppingActuator(actuator, boundaries) for name, actuator in actuators.items()}
    return Resources(
        config=_config(ground),
        store=store,
        metrics=UsersSignal(ground.well_from),  # type: ignore[arg-type] - it answers what is asked here
        actuators=actuators,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=ground.later + (boundaries.jump if boundaries else 0.0)),
    )


def _connections(ground: Ground) -> Connections:
    return Connections(store=ground.store, prometheus="")


def _log_settings(ground: Ground) -> dict[str, Any]:
    import sys

    (ground.folder / "log.py").write_text(_LOG)
    ground.log.touch()
    run = [sys.executable, "-S", str(ground.folder / "log.py")]
    action = {
        "description": "Notes the step.",
        "target": "[a-z]+",
        "state": [*run, "state", "x", str(ground.log)],
        "apply": [*run, "apply", "{target}", str(ground.log)],
        "verify": [*run, "is", "x", str(ground.log)],
        "undo": [*run, "undo", "{target}", str(ground.log)],
    }
    return {"folder": str(ground.folder), "actions": {"note": action}}


def _config(ground: Ground) -> Config:
    """A shop whose playbook isolates a zone without asking, and releases it in steps of a moment."""
    instances = tuple(
        Instance(name=f"checkout-{n}", service="checkout", server=SERVERS[n - 1], zone=ZONE if n < 3 else "b")
        for n in (1, 2, 3)
    )
    service = Service(name="checkout", team="shop", is_user_facing=True, instances=instances)
    signal = Signal(
        name="errors",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=1),
        is_user_facing=True,
    )
    book = Playbook(
        name="drain-zone",
        description="Drain a zone and note it.",
        owner="platform",
        matchers=parse_matchers('{service=~".+"}'),
        target_kind="zone",
        steps=(
            StepTemplate(actuator="haproxy", action="isolate", target="{server}", backoff=timedelta(milliseconds=10)),
            StepTemplate(actuator="log", action="note", target="{service}"),
        ),
        recovery=RecoveryRule(
            signal="errors", below=0.02, hold=timedelta(milliseconds=1), deadline=timedelta(seconds=30)
        ),
        approval=ApprovalPolicy(above_capacity_share=1.0),
        limits=Limits(capacity_floor=0.3, cooldown=timedelta(0), per_hour=100_000),
        autonomy=Autonomy(successes=0),
        release=ReleaseRule(shares=(0.1, 0.5), hold=timedelta(milliseconds=50)),
    )
    return Config(
        folder=ground.folder,
        connections=_connections(ground),
        catalog=Catalog(services={"checkout": service}),
        signals={"errors": signal},
        playbooks={book.name: book},
        fleet_limits=FleetLimits(most_active=1000, per_hour=1_000_000, evidence_kinds=0),
    )


# ---- the victim ---------------------------------------------------------------------------------------------------


def victim(ground: Ground, work: str, subject: str, stop_at: int, pipe: Any) -> None:
    """Do the work; stop at the boundary with this number (0: none), or say how many there were."""
    boundaries = Boundaries(stop_at=stop_at, tell=lambda name: pipe.send(("here", name)))
    res = resources(ground, boundaries)
    try:
        _do(res, work, subject)
    except Exception as error:  # noqa: BLE001 - the parent must learn it
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("done", boundaries.names))


def _do(res: Resources, work: str, subject: str) -> None:
    match work:
        case "respond":
            planned = plan_for_incident(res, subject)
            assert planned is not None
            apply_mitigation(res, planned.id)
            judge_once(res, planned.id)
        case "mitigate":
            planned = plan_manual(res, "drain-zone", "checkout", ZONE, None, "bob", "kill test", flow_run=subject)
            apply_mitigation(res, planned.id)
        case "undo":
            undo_mitigation(res, subject, "bob", "kill test")
        case "release":
            release_mitigation(res, subject, "bob", "kill test", sleep=lambda _seconds: time.sleep(0.05))
        case _:
            reconcile_all(res)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one kill; `faults` say in words what was wrong."""

    work: str
    boundary: str
    settled_s: float | None
    faults: tuple[str, ...]


class Torture:
    """One store and one HAProxy; each `kill` begins and ends with everything as it was."""

    def __init__(self, store: str, proxy: TrialProxy) -> None:
        self._ground = Ground(store=store, folder=proxy.folder, socket=proxy.socket)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["benchmarks.mitigation_kills"])
        self._later = 0.0  # each case begins after the last one has ended, by its own clock

    def boundaries_of(self, work: str) -> list[str]:
        """Run the work to its end and name what it passed."""
        subject, ground = self._prepare(work)
        said, names = self._run(ground, work, subject, 0)
        if said != "done":
            raise RuntimeError(f"{work} does not get through without a kill: {names}")
        self._put_away(ground)
        return names

    def kill(self, work: str, stop_at: int) -> Outcome:
        subject, ground = self._prepare(work)
        said, name = self._run(ground, work, subject, stop_at)
        if said != "here":  # side by side steps may pass fewer boundaries in another order
            return self._judge(work, f"ran to its end ({said})", ground)
        return self._judge(work, str(name), ground)

    def disturb(self, work: str, at: int, disturbance: Callable[[Boundaries], None]) -> Outcome:
        """Let something happen at a boundary while the process lives on; afterwards it dies of old age."""
        subject, ground = self._prepare(work)
        boundaries = Boundaries(stop_at=at)
        boundaries.disturb = lambda: disturbance(boundaries)
        res = resources(ground, boundaries)
        with suppress(Exception):  # whatever it says: what it leaves must be settled
            _do(res, work, subject)
        res.store.close()
        name = boundaries.names[at - 1] if len(boundaries.names) >= at else "ran to its end"
        return self._judge(work, name, ground)

    def disturb_at(
        self,
        work: str,
        name: str,
        disturbance: Callable[[Boundaries], None],
        do: Callable[[Resources, str], None],
    ) -> Outcome:
        """The same for work of the caller's on a planned mitigation, at the first boundary of this name."""
        subject, ground = self._prepare(work)
        boundaries = Boundaries(stop_on=name)
        boundaries.disturb = lambda: disturbance(boundaries)
        res = resources(ground, boundaries)
        with suppress(Exception):
            do(res, subject)
        res.store.close()
        return self._judge(work, name, ground)

    def _run(self, ground: Ground, work: str, subject: str, stop_at: int) -> tuple[str, Any]:
        ours, theirs = self._processes.Pipe()
        process = self._processes.Process(target=victim, args=(ground, work, subject, stop_at, theirs))
        process.start()
        try:
            if not ours.poll(_ANSWER_SECONDS):
                return "silent", f"it said nothing for {_ANSWER_SECONDS} s"
            return ours.recv()
        finally:
            process.kill()
            process.join()

    def _prepare(self, work: str) -> tuple[str, Ground]:
        """The incident or mitigation that the victim works on, in the state in which its work begins."""
        self._ground.log.write_text("")
        self._later += _CASE_SECONDS
        ground = replace(self._ground, later=self._later, well_from=time.time() + self._later)
        res = resources(ground)
        try:
            if work == "mitigate":
                return f"run-{time.time_ns()}", ground
            if work == "respond":
                return _open_incident(res, f"INC-{time.time_ns()}"), ground
            planned = plan_manual(res, "drain-zone", "checkout", ZONE, None, "bob", "kill test")
            if work == "mitigate flow":
                return planned.id, ground
            if work == "reconcile apply":
                self._leave_intent(res, planned.id)
                return planned.id, replace(ground, later=ground.later + PASSES[0])
            apply_mitigation(res, planned.id)
            if work == "reconcile undo":
                with res.store.writing() as tx:
                    current = get_mitigation(tx, planned.id)
                    move(tx, current, MitigationState.UNDOING, now=res.clock(), by="bob", why="its process died")
                return planned.id, replace(ground, later=ground.later + PASSES[0])
            if work == "release":
                with res.store.writing() as tx:
                    current = get_mitigation(tx, planned.id)
                    move(tx, current, MitigationState.EFFECTIVE, now=res.clock(), by="quell", why="users are well")
            return planned.id, ground
        finally:
            res.store.close()

    def _leave_intent(self, res: Resources, id: str) -> None:
        """As a process leaves it that died after it had moved on to applying."""
        with res.store.writing() as tx:
            move(tx, get_mitigation(tx, id), MitigationState.APPLYING, now=res.clock(), by="quell", why="test")

    def _judge(self, work: str, boundary: str, ground: Ground) -> Outcome:
        settled: float | None = None
        for seconds in PASSES:
            res = resources(replace(ground, later=ground.later + seconds))
            try:
                if work == "mitigate" and not _mitigations(res):
                    pass  # killed before its intent: Prefect runs the flow again, and nothing is left to settle
                reconcile_all(res)
                keep_in_force(res)
                if all(m.state in REST for m in _mitigations(res)):
                    settled = seconds
                    break
            finally:
                res.store.close()
        res = resources(replace(ground, later=ground.later + PASSES[-1]))
        try:
            faults = tuple(self._faults(res))
        finally:
            res.store.close()
        self._put_away(ground)
        return Outcome(work=work, boundary=boundary, settled_s=settled, faults=faults)

    def _faults(self, res: Resources) -> Iterator[str]:
        """Where record, journal, HAProxy and the log of effects do not agree."""
        mitigations = [m for m in _mitigations(res) if m.state not in (MitigationState.UNDONE, MitigationState.REFUSED)]
        latest = _latest(res)
        if len(mitigations) > 1:
            yield f"double: {len(mitigations)} mitigations hold: {', '.join(m.id for m in mitigations)}"
        serving = res.actuators["haproxy"].capacity(SERVERS)
        drained = {server for server, share in serving.items() if share == 0.0}
        wanted = set(SERVERS[:2]) if any(m.is_holding for m in mitigations) else set[str]()
        if drained != wanted:
            kind = "forgotten" if drained > wanted else "missing"
            yield f"{kind}: HAProxy has {sorted(drained)} drained, the record says {sorted(wanted)}"
        if not wanted and any(share != 1.0 for share in serving.values()):
            yield f"forgotten: weights are {dict(serving)}"
        acts = [line.split()[0] for line in self._ground.log.read_text().splitlines()]
        if acts.count("apply") > 1 or acts.count("undo") > 1:
            yield f"double: the command was carried out as {acts}"
        if (acts[-1:] == ["apply"]) is not bool(wanted):
            yield f"disagree: the command's log says {acts}, the record {'holds' if wanted else 'does not'}"
        yield from _journal_faults(res, latest)
        with res.store.reading() as tx:
            entries = tx.timeline.entries(after_id=0)
            if verify_chain(entries, written=tx.timeline.written()):
                yield "disagree: the timeline's chain is broken"

    def _put_away(self, ground: Ground) -> None:
        """Everything back, whatever was found."""
        res = resources(replace(ground, later=ground.later + PASSES[-1] + 25))
        try:
            for mitigation in _mitigations(res):
                if mitigation.state not in REST or mitigation.is_holding:
                    undo_mitigation(res, mitigation.id, "bob", "the next kill")
        finally:
            res.store.close()


def _mitigations(res: Resources) -> Sequence[Mitigation]:
    """Those of the last two minutes: what was before has been put away."""
    with res.store.reading() as tx:
        found = tx.mitigations.find(order="created_at", descending=True, limit=5)
    return [m for m in found if m.is_holding or m.state not in REST] or found[:1]


def _latest(res: Resources) -> Mitigation | None:
    with res.store.reading() as tx:
        return next(iter(tx.mitigations.find(order="created_at", descending=True, limit=1)), None)


def _journal_faults(res: Resources, latest: Mitigation | None) -> Iterator[str]:
    if latest is None:
        return
    with res.store.reading() as tx:
        states = {entry.position: entry.state for entry in tx.journal.find({"mitigation": latest.id})}
    expected = JournalState.DONE if latest.is_holding else JournalState.UNDONE
    wrong = {position: state for position, state in states.items() if state is not expected}
    if wrong or (latest.is_holding and len(states) != len(latest.plan.steps)):
        yield f"disagree: {latest.id} is {latest.state} and its journal says {states}"


def _open_incident(res: Resources, id: str) -> str:
    now = res.clock()
    suspects = tuple(
        Suspect(node=f"checkout-{n}", metric="errors", score=0.9, reason="its errors rose first") for n in (1, 2)
    )
    incident = Incident(
        id=IncidentId(id),
        state=IncidentState.TRIAGED,
        severity=Severity.CRITICAL,
        title="zone a fails",
        service="checkout",
        onset_at=now - timedelta(seconds=30),
        opened_at=now,
        updated_at=now,
        opened_because="test",
        opened_by="test",
        suspects=suspects,
    )
    with res.store.writing() as tx:
        tx.incidents.add(incident)
    return id


def torture(store: str, proxy: TrialProxy, *, kills: int, works: Sequence[str] = WORKS) -> list[Outcome]:
    """At least one kill at every boundary of every work, in turn until there were `kills` of them."""
    one = Torture(store, proxy)
    moments = [(work, number) for work in works for number in range(1, len(one.boundaries_of(work)) + 1)]
    return [one.kill(*moments[index % len(moments)]) for index in range(max(kills, len(moments)))]
