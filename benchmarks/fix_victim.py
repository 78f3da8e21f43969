"""Victims: processes that work on a fix and stand still at one boundary, or in the middle of a command, to be killed.

Boundaries are before and after each commit of the store, each git command that changes something, each reload, and
each call of the actuator; `during` one of git's commands is while it writes files or moves a branch.
"""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any

import quell.adapters.git_program
import tasks.fix
import tasks.readiness
from benchmarks.colour_ground import colour_resources
from benchmarks.fix_ground import Ground, resources
from benchmarks.kill_ground import StoppingActuator, StoppingStore
from benchmarks.pilot_ground import pilot_resources
from quell.adapters.commands import CommandResult, run_command
from quell.incidents.fix import FixState
from quell.resolution.canary import CanaryPolicy, CanaryVerdict
from tasks.keeping import keep_in_force
from tasks.reconciliation import reconcile_all
from tasks.resolution import (
    apply_fix_of,
    close_of,
    judge_fix_of,
    prepare_fix_of,
    promote_fix_of,
    reconcile_fixes,
    roll_back_of,
)
from tasks.resources import Resources

ANSWER_SECONDS = 90
_REQUESTS = 40  # between two looks at the canary
_GIT_CHANGES = frozenset(
    ("worktree", "apply", "reset", "add", "commit", "merge", "fetch", "push", "branch", "checkout", "update-index")
)
_PLACES = ("smudge", "prepared", "committed")  # while git writes files, before and after it moves a branch
QUICK = CanaryPolicy(window=timedelta(0), minimum_requests=8, margin=0.4, deadline=timedelta(seconds=30))
HOPELESS = replace(QUICK, deadline=timedelta(seconds=1))
_RESOURCES: Mapping[str, Callable[[Ground], Resources]] = {
    "instance": resources,
    "colours": colour_resources,
    "pilot": pilot_resources,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the victim does, and where it stops: it goes on after all but the last of `stops`."""

    work: str  # resolve, take back, reconcile
    subject: str
    stops: tuple[int, ...] = ()
    has_traffic: bool = True
    seed: int = 0
    mode: str = "machine"  # who stands in the middle of a command dies as well; orphan: it goes on


@dataclass(slots=True, kw_only=True)
class Stops:
    """Counts the boundaries, and stops at some of them; it looks like `Boundaries` to store and actuator."""

    at: Sequence[int]
    stop: Callable[[str, bool], None]
    names: list[str] = field(default_factory=list[str])

    def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) in self.at:
            self.stop(name, len(self.names) == self.at[-1])

    def is_next_last(self) -> bool:
        """Whether the next boundary is where the victim is to be killed."""
        return bool(self.at) and len(self.names) + 1 == self.at[-1]


def victim(ground: Ground, order: Order, pipe: Any) -> None:
    """Do the work; wait where it is ordered, or say what was passed."""

    def stop(name: str, is_last: bool) -> None:
        pipe.send(("dies" if is_last else "stands", name))
        pipe.poll(2 * ANSWER_SECONDS) if is_last else pipe.recv()

    stops = Stops(at=order.stops, stop=stop)
    _stop_commands(ground, order, stops)
    res = _RESOURCES[ground.kind](ground)
    boundaries: Any = stops
    store: Any = StoppingStore(res.store, boundaries)
    actuators: Any = {name: StoppingActuator(one, boundaries) for name, one in res.actuators.items()}
    res = replace(res, store=store, actuators=actuators)
    try:
        do_work(res, ground, order)
    except Exception as error:  # noqa: BLE001 - the parent must learn it
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("done", stops.names))


def do_work(res: Resources, ground: Ground, order: Order) -> None:
    def sleep(seconds: float) -> None:
        if order.has_traffic:
            send_requests(ground, _REQUESTS)
        else:
            time.sleep(min(seconds, 0.5))

    match order.work:
        case "resolve":
            resolve(res, order.subject, QUICK if order.has_traffic else HOPELESS, sleep)
        case "take back":
            roll_back_of(res, order.subject, "a person wants it back")
        case _:
            reconcile_all(res)
            keep_in_force(res)
            reconcile_fixes(res)


def resolve(res: Resources, incident: str, policy: CanaryPolicy, sleep: Callable[[float], None]) -> None:
    """The flow `resolve`, step by step."""
    fix = prepare_fix_of(res, incident)
    if fix is None or apply_fix_of(res, fix.id).state is FixState.REVERTED:
        return
    result = judge_fix_of(res, fix.id, policy, sleep=sleep)
    if result.verdict is not CanaryVerdict.PROMOTE:
        roll_back_of(res, fix.id, result.reason)
        return
    promote_fix_of(res, fix.id, result.reason)
    close_of(res, fix.id, sleep=sleep)


def send_requests(ground: Ground, count: int) -> None:
    connection = HTTPConnection("127.0.0.1", ground.port, timeout=10)
    for _ in range(count):
        connection.request("GET", "/")
        connection.getresponse().read()
    connection.close()


def _stop_commands(ground: Ground, order: Order, stops: Stops) -> None:
    """From now on each command that changes something has three boundaries in this process."""
    dice = random.Random(order.seed)

    def run(command: Sequence[str], **arguments: Any) -> CommandResult:
        what = _what_it_changes(command)
        if what is None:
            return run_command(command, **arguments)
        stops.reach(f"before {what}")
        if stops.is_next_last():
            place = "reload" if what == "reload" else dice.choice(_PLACES)
            os.environ.update(_told_to_stop(ground, order, place))
        stops.names.append(f"during {what}")
        result = run_command(command, **arguments)
        if len(stops.names) in stops.at:  # it has no such place to stand still at
            stops.stop(f"after {what}", True)
        stops.reach(f"after {what}")
        return result

    quell.adapters.git_program.run_command = run
    tasks.fix.run_command = run
    tasks.readiness.run_command = run


def _told_to_stop(ground: Ground, order: Order, place: str) -> Mapping[str, str]:
    return {"FIX_KILLS_STOP": place, "FIX_KILLS_MARK": str(ground.mark), "FIX_KILLS_MODE": order.mode}


def _what_it_changes(command: Sequence[str]) -> str | None:
    if command[0] == "sh":
        return "reload"
    found = [word for word in command if word in _GIT_CHANGES]
    return f"git {found[0]}" if command[0] == "git" and found else None
