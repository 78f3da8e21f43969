"""kill -9 at every boundary of a mitigation's life: what a process leaves at any line, the next one settles.

A victim does one piece of work (answer an incident, mitigate, undo, release a little at a time, reconcile) and stops at
one boundary: before or after one commit of the store, before or after one call of an actuator that changes something.
There it is killed. The boundaries are not chosen: the work is run once to count them. Victims are forked from a process
that has loaded their code. What they work on is in kill_ground.py.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from benchmarks.kill_ground import SERVERS, ZONE, Boundaries, Ground, resources
from benchmarks.kill_victim import ANSWER_SECONDS, do_work, victim
from deployments.sandbox.trial_proxy import TrialProxy
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.journal import JournalState
from quell.incidents.mitigation import Mitigation, MitigationState
from quell.incidents.suspect import Suspect
from quell.incidents.timeline import verify_chain
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.keeping import keep_in_force
from tasks.planning import plan_manual
from tasks.reconciliation import reconcile_all
from tasks.record import get_mitigation, move
from tasks.resources import Resources

PASSES = (25.0, 40.0, 55.0)  # seconds after the death; `reconcile` runs every 15 s, leases last 20 s
REST = (MitigationState.EFFECTIVE, MitigationState.UNDONE, MitigationState.REFUSED, MitigationState.EXPIRED)
WORKS = ("respond", "mitigate", "undo", "release", "reconcile apply", "reconcile undo")
_CASE_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one kill; `faults` say in words what was wrong."""

    work: str
    boundary: str
    settled_s: float | None
    faults: tuple[str, ...]


class Torture:
    """One store and one HAProxy; each `kill` begins and ends with everything as it was."""

    def __init__(self, store: str, proxy: TrialProxy, *, api: str = "") -> None:
        self._ground = Ground(store=store, folder=proxy.folder, socket=proxy.socket, api=api)
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
            do_work(res, work, subject)
        res.store.close()
        name = boundaries.names[at - 1] if len(boundaries.names) >= at else "ran to its end"
        return self._judge(work, name, ground)

    def let_live(self, work: str, name: str, disturbance: Callable[[], None]) -> Outcome:
        """The victim stands at the boundary of this name while something happens, and then goes on as it can."""
        subject, ground = self._prepare(work)
        ours, theirs = self._processes.Pipe()
        process = self._processes.Process(target=victim, args=(ground, work, subject, name, theirs))
        process.start()
        try:
            said = ours.recv() if ours.poll(ANSWER_SECONDS) else ("silent", "")
            disturbance()
            ours.send("go on")
            process.join(ANSWER_SECONDS)
        finally:
            process.kill()
            process.join()
        return self._judge(work, str(said[1]), ground)

    def _run(self, ground: Ground, work: str, subject: str, stop_at: int) -> tuple[str, Any]:
        ours, theirs = self._processes.Pipe()
        process = self._processes.Process(target=victim, args=(ground, work, subject, stop_at, theirs))
        process.start()
        try:
            if not ours.poll(ANSWER_SECONDS):
                return "silent", f"it said nothing for {ANSWER_SECONDS} s"
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
