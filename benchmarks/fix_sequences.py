"""Random sequences of a bad commit, its fix, its taking back, people who commit meanwhile, and kill -9 in between.

After each sequence, and the reconciliation passes within a minute of the last death, what the branch says must run,
HAProxy must be as the record says, the fix must have ended, and nothing may be left over.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from benchmarks.fix_faults import Sequence, faults_of, fixes_of, is_locked, is_settled
from benchmarks.fix_ground import (
    BACKEND,
    GOOD,
    INSTANCES,
    Ground,
    commit_and_deploy,
    file_of,
    git,
    resources,
    set_key,
)
from benchmarks.fix_victim import ANSWER_SECONDS, Order, do_work, victim
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.git import GitRepository
from quell.incidents.change import Change, ChangeKind
from quell.incidents.errors import Conflict
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity
from quell.incidents.mitigation import MitigationState
from quell.incidents.suspect import Suspect
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_manual
from tasks.record import get_mitigation, move
from tasks.resources import Resources
from tasks.rollback import move_to

PASSES = (25.0, 40.0, 55.0)  # seconds after the last death; `reconcile` runs every 15 s, leases last 20 s
KINDS = ("promoted", "bad fix", "no verdict", "taken back")
ACTS = ("nothing", "nothing", "other file", "other key", "same line", "releases")
_PLACES = {
    "smudge": "git, which writes files",
    "prepared": "git, which moves a branch",
    "committed": "git, which has moved a branch",
    "reload": "reload",
}
_CASE_SECONDS = 900.0  # longer than reconciliation tries to take back a rest
_MOST_KILLS = 3


class Sequences:
    """One store, one repository and one HAProxy; every sequence goes on where the last one has ended."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self._ground = ground
        self._dice = random.Random(seed)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["benchmarks.fix_sequences", "benchmarks.fix_exposure"])
        self._lengths: dict[str, int] = {}  # boundaries by kind of sequence, from one that nobody killed
        self._moments: dict[str, list[int]] = {}
        self._later = 0.0
        self.boundaries: set[str] = set()
        self.passed: Counter[str] = Counter()

    def run(self, number: int, kind: str) -> Sequence:
        if kind not in self._lengths:
            unharmed = self._begin(number, kind, "nothing")
            self._lengths[kind] = len(self._boundaries(unharmed, self._first_order(unharmed)))
        one = self._begin(number, kind, self._dice.choice(ACTS))
        order = self._first_order(one)
        self._torture(one, order)
        self._settle(one)
        res = self._resources(PASSES[-1])
        one.faults = tuple(self._faults(res, one))
        res.store.close()
        self._put_away(one)
        return one

    def _faults(self, res: Resources, one: Sequence) -> Iterator[str]:
        return faults_of(self._ground, res, one)

    def _begin(self, number: int, kind: str, act: str) -> Sequence:
        """A person's bad commit is in force on one instance, which Quell has isolated."""
        self._later += _CASE_SECONDS
        instance = self._dice.choice(INSTANCES)
        one = Sequence(number=number, kind=kind, act=act, instance=instance)
        text = (self._ground.repository / file_of(instance)).read_text()
        bad = set_key(text, "payment_timeout_ms", self._dice.randint(1, 9))
        one.bad = commit_and_deploy(self._ground, {file_of(instance): bad}, f"{instance}: fail faster")
        self._ground.broken(instance).unlink(missing_ok=True)
        if kind == "bad fix":
            self._ground.broken(instance).touch()
        res = self._resources()
        one.incident, one.mitigation = contain(res, one)
        res.store.close()
        return one

    def _first_order(self, one: Sequence) -> Order:
        """The work that is killed first. What a person takes back was promoted before."""
        has_traffic = one.kind != "no verdict"
        order = Order(work="resolve", subject=one.incident, has_traffic=has_traffic, seed=self._dice.getrandbits(32))
        if one.kind != "taken back":
            return order
        res = self._resources()
        do_work(res, self._ground, order)
        (fix,) = fixes_of(res, one)
        res.store.close()
        return replace(order, work="take back", subject=fix.id)

    def _boundaries(self, one: Sequence, order: Order) -> list[str]:
        said, names = self._run(one, order)
        if said != "done":
            raise RuntimeError(f"{one.story} does not get through without a kill: {names}")
        self.boundaries.update(f"{one.kind}, {name}" for name in names)
        self._settle(one)
        if faults := tuple(self._faults(res := self._resources(PASSES[-1]), one)):
            raise RuntimeError(f"{one.story} is wrong without a kill: {'; '.join(faults)}")
        res.store.close()
        self._put_away(one)
        return names

    def _torture(self, one: Sequence, order: Order) -> None:
        """Kill the work somewhere, then whoever comes after it, until one gets through or enough have died."""
        for _ in range(self._dice.randint(1, _MOST_KILLS)):
            stop = self._moment(one.kind) if not one.kills else self._dice.randint(1, 40)
            early = (self._dice.randint(1, stop),) if self._dice.random() < 0.4 and not one.acted else ()
            order = replace(
                order,
                stops=(*(at for at in early if at < stop), stop),
                mode=self._dice.choice(("machine", "orphan", "machine")),
                seed=self._dice.getrandbits(32),
            )
            said, name = self._run(one, order)
            if said != "dies":
                break
            one.kills.append(f"{order.work} {name}")
            self._after_kill(one)
            self._act(one)
            self._later += PASSES[0]  # the next one begins after the lease has run out
            again = self._dice.choice(("reconcile", "same"))
            order = replace(order, work="reconcile") if again == "reconcile" else order

    def _after_kill(self, one: Sequence) -> None:
        """What must hold although nobody has reconciled anything yet: see colour_sequences.py."""

    def _moment(self, kind: str) -> int:
        """Each boundary once, in random order, before one comes again."""
        left = self._moments.get(kind)
        if not left:
            left = list(range(1, self._lengths[kind] + 1))
            self._dice.shuffle(left)
            self._moments[kind] = left
        return left.pop()

    def _run(self, one: Sequence, order: Order) -> tuple[str, Any]:
        """Until the victim is killed or gets through: what it said last."""
        self._ground.mark.unlink(missing_ok=True)
        ours, theirs = self._processes.Pipe()
        ground = replace(self._ground, later=self._later)
        process = self._processes.Process(target=victim, args=(ground, order, theirs))
        process.start()
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            while time.monotonic() < deadline:
                if self._ground.mark.exists():
                    time.sleep(0.05)
                    return "dies", f"in the middle of {_PLACES[self._ground.mark.read_text().split()[1]]}"
                if not ours.poll(0.02):
                    continue
                said, what = ours.recv()
                if said != "stands":
                    return said, what
                if not (one.act == "releases" and what.startswith("before commit")):  # it would wait for the victim
                    self._act(one)
                ours.send("go on")
            return "silent", f"it said nothing for {ANSWER_SECONDS} s"
        finally:
            process.kill()
            process.join()
            if order.mode == "machine":
                self._kill_command()

    def _kill_command(self) -> None:
        """The command in the middle of which the victim stood: as when the whole machine dies."""
        with suppress(OSError, ValueError):
            os.killpg(os.getpgid(int(self._ground.mark.read_text().split()[0])), signal.SIGKILL)

    def _act(self, one: Sequence) -> None:
        """What the person does, once; who finds the repository locked comes again later."""
        if one.acted or one.act == "nothing" or (one.act != "releases" and is_locked(self._ground)):
            return
        file = file_of(one.instance)
        path = self._ground.repository / file
        text = (
            path.read_text() if path.exists() else ""
        )  # gone in the middle of a merge: who only releases does not mind
        value = self._dice.randint(100, 900)
        with suppress(subprocess.CalledProcessError, Conflict):  # somebody was faster
            match one.act:
                case "other file":
                    commit_and_deploy(self._ground, {"notes.txt": f"{one.number} {value}\n"}, "notes")
                case "other key":
                    commit_and_deploy(self._ground, {file: set_key(text, "workers", value)}, "more workers")
                case "same line":
                    commit_and_deploy(self._ground, {file: set_key(text, "payment_timeout_ms", value)}, "by hand")
                    one.theirs = value
                case _:
                    res = self._resources(PASSES[0])
                    undo_mitigation(res, one.mitigation, "bob", "a person releases it")
                    res.store.close()
            one.acted = True

    def _settle(self, one: Sequence) -> None:
        for seconds in PASSES:
            res = self._resources(seconds)
            do_work(res, self._ground, Order(work="reconcile", subject=""))
            is_done = is_settled(res, one)
            res.store.close()
            self._act(one)
            if is_done:
                one.settled_s = seconds
                return

    def _resources(self, seconds: float = 0.0) -> Resources:
        return resources(replace(self._ground, later=self._later + seconds))

    def _put_away(self, one: Sequence) -> None:
        """Everything as it was before, whatever was found."""
        res = self._resources(PASSES[-1] + 25)
        undo_mitigation(res, one.mitigation, "bob", "the next sequence")
        res.store.close()
        self._ground.broken(one.instance).unlink(missing_ok=True)
        for path in (self._ground.repository / ".git").glob("*.lock"):
            path.unlink()
        texts = {file_of(name): GOOD.format(name=name) for name in INSTANCES}
        git(self._ground.repository, "reset", "--hard", "--quiet")
        if self._ground.remote:
            git(self._ground.repository, "pull", "--quiet", "--ff-only", "origin", "main")
        for branch in git(self._ground.repository, "branch", "--format=%(refname:short)").split():
            if branch != "main":
                GitRepository(self._ground.repository).forget(branch)
        with suppress(subprocess.CalledProcessError):  # nothing to commit
            commit_and_deploy(self._ground, texts, "as at first")
        client = RuntimeClient(self._ground.socket, timedelta(seconds=5))
        for name in INSTANCES:
            client.order("set", "server", f"{BACKEND}/{name}", "state", "ready")
            client.order("set", "weight", f"{BACKEND}/{name}", "100")


def contain(res: Resources, one: Sequence) -> tuple[str, str]:
    """The incident with the change that caused it, contained by a mitigation of its own."""
    now = res.clock()
    with res.store.writing() as tx:
        number = tx.next_number("INC")
        change, id = f"CHG-{number}", f"INC-{number}"
        tx.changes.add(
            Change(
                id=change,
                kind=ChangeKind.CONFIG,
                service="shop",
                instance=one.instance,
                summary="fail faster",
                at=now - timedelta(seconds=100),
                commit=one.bad,
                received_at=now,
            )
        )
        tx.incidents.add(
            Incident(
                id=IncidentId(id),
                state=IncidentState.TRIAGED,
                severity=Severity.CRITICAL,
                title=f"{one.instance} fails",
                service="shop",
                onset_at=now - timedelta(seconds=90),
                opened_at=now,
                updated_at=now,
                opened_because="test",
                opened_by="test",
                changes=(change,),
                suspects=(Suspect(node=one.instance, metric="errors", score=0.9, reason="", change=change),),
            )
        )
    planned = plan_manual(res, "isolate", "shop", one.instance, id, "bob", "kill test")
    apply_mitigation(res, planned.id)
    with res.store.writing() as tx:
        current = get_mitigation(tx, planned.id)
        move(tx, current, MitigationState.EFFECTIVE, now=res.clock(), by="quell", why="users are well")
    move_to(res, id, IncidentState.CONTAINED, "isolated")
    return id, planned.id
