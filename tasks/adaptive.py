"""Adaptive throttles: while one is in force, its limits follow what the service can do, and it is lifted in the end.

One process at a time adjusts it, under a lease with a token; what it knows is a document, so that the next one goes on
from there. A process that was presumed dead and wakes up finds its lease gone, and takes back what it set too late.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from quell.adapters.actuators.haproxy_adaptive import bounds_of
from quell.incidents.errors import QuellError
from quell.incidents.mitigation import Mitigation, MitigationState, Step
from quell.ports import Document, Transaction
from quell.response.gradient import READING_SECONDS, Bounds, Caps, Limiter, Stage, advance, caps_of, start
from quell.response.traffic import Reading, Traffic, read_rates
from quell.response.usual import most_of
from tasks.automation import automation_enabled
from tasks.effect import undo_mitigation
from tasks.lease import take_turn
from tasks.levers import get_actuator
from tasks.record import QUELL, get_mitigation, note
from tasks.resources import Resources
from tasks.usual import read_usual

ADAPTIVE = "adaptive"  # the action, and the kind of the document
ADJUSTED_STATES = (
    MitigationState.APPLIED,
    MitigationState.EFFECTIVE,
    MitigationState.INEFFECTIVE,
    MitigationState.INCONCLUSIVE,
)
_LOG = logging.getLogger("quell.adaptive")
_LOOK_SECONDS, _IDLE_SECONDS = 0.1, 0.25
_AWAY_SECONDS = 2.0
_LEASE_TIME = timedelta(seconds=5)
_TOLD_EVERY = timedelta(seconds=5)
_TELLING_CHANGE = 0.25  # of the limit that was told last
_CHECKED_FOR = timedelta(seconds=60)  # after its end: who was paused in the middle has woken up or is gone


class Lever(Protocol):
    """What the adaptive throttle of a load balancer can do besides being applied and undone."""

    def traffic(self, step: Step) -> Traffic: ...
    def adjust(self, step: Step, caps: Caps) -> None: ...
    def in_force(self, step: Step) -> Caps | None: ...
    def undo(self, step: Step, state_before: Mapping[str, str]) -> None: ...


@runtime_checkable
class HasAdaptive(Protocol):
    @property
    def adaptive(self) -> Lever: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """A mitigation that throttles adaptively, by one of its steps."""

    mitigation: Mitigation
    position: int
    step: Step

    @property
    def document(self) -> str:
        return f"{ADAPTIVE} {self.mitigation.id}"


def throttled_of(mitigations: Sequence[Mitigation]) -> list[Throttled]:
    """The adaptive steps of these mitigations."""
    return [
        Throttled(mitigation=mitigation, position=position, step=step)
        for mitigation in mitigations
        for position, step in enumerate(mitigation.plan.steps, start=1)
        if step.action == ADAPTIVE
    ]


@dataclass(slots=True)
class Controller:
    """Adjusts every adaptive throttle that is in force; `look` several times a second, it decides twice a second."""

    res: Resources
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    looks: dict[str, list[Traffic]] = field(default_factory=dict[str, list[Traffic]])

    def look(self) -> bool:
        """Look at the traffic of each, decide where it is time; whether there is any."""
        with self.res.store.reading() as tx:
            active = throttled_of(tx.mitigations.find({"state": ADJUSTED_STATES}))
        for old in set(self.looks) - {one.document for one in active}:
            self.looks.pop(old)
        for one in active:
            try:
                self._look(one)
            except QuellError as error:  # the limit stays as it is, and the others are seen to
                self.looks.pop(one.document, None)
                _LOG.warning("%s is not adjusted: %s", one.mitigation.id, error)
        return bool(active)

    def tidy(self) -> None:
        """Take away what a process that woke up too late has set after the end of a throttle."""
        now = self.res.clock()
        with self.res.store.reading() as tx:
            found = [d.id for d in tx.documents.find({"kind": ADAPTIVE}, after=("updated_at", now - _CHECKED_FOR))]
            mitigations = [m for id in found if (m := tx.mitigations.get(id.removeprefix(f"{ADAPTIVE} "))) is not None]
            others = throttled_of(tx.mitigations.find({"state": (*ADJUSTED_STATES, MitigationState.APPLYING)}))
        if others:
            return
        for one in throttled_of([m for m in mitigations if m.state is MitigationState.UNDONE]):
            if lever_of(self.res, one.step).in_force(one.step) is not None:
                _LOG.warning("%s has ended and its limits were still in force", one.mitigation.id)
                self._take_back(one)

    def _look(self, one: Throttled) -> None:
        looks = self.looks.setdefault(one.document, [])
        looks.append(lever_of(self.res, one.step).traffic(one.step))
        if looks[-1].at_seconds - looks[0].at_seconds < READING_SECONDS:
            return
        reading = read_rates(looks)
        self.looks[one.document] = looks[-1:]
        if reading is not None:
            self._decide(one, reading)

    def _decide(self, one: Throttled, reading: Reading) -> None:
        lever = lever_of(self.res, one.step)
        in_force = lever.in_force(one.step)
        decided = self._commit(one, reading, in_force)
        if decided is None:
            return
        after, caps = decided
        if caps != in_force:
            lever.adjust(one.step, caps)
            if not self._is_ours(one):
                self._take_back(one)
        if after.stage is Stage.OVER and one.mitigation.state is MitigationState.EFFECTIVE:
            why = f"the surge is over: {reading.offered:.0f} requests per second offered, none refused while released"
            undo_mitigation(self.res, one.mitigation.id, QUELL, why)

    def _commit(self, one: Throttled, reading: Reading, in_force: Caps | None) -> tuple[Limiter, Caps] | None:
        """The next limiter and its limits, committed before they are in force; None where it is not our turn."""
        with self.res.store.writing() as tx:
            now = self.res.clock()
            mitigation = get_mitigation(tx, one.mitigation.id)
            if mitigation.state not in ADJUSTED_STATES:
                return None
            if not take_turn(tx, one.document, self.holder, now=now, time_held=_LEASE_TIME):
                return None
            known = tx.documents.get(one.document)
            bounds = bounds_of(one.step)
            before = read_limiter(known.body) if known else _begin(reading, bounds, in_force)
            after = advance(before, reading, bounds, may_tighten=automation_enabled(tx))
            caps = caps_of(after, usual=most_of(read_usual(tx, one.step.actuator)))
            told = _tell(tx, mitigation, known.body if known else {}, before, after, caps, reading, now)
            body = {"limiter": asdict(after), **told}
            tx.documents.put(Document(id=one.document, kind=ADAPTIVE, updated_at=now, body=body))
            return after, caps

    def _is_ours(self, one: Throttled) -> bool:
        with self.res.store.reading() as tx:
            return get_mitigation(tx, one.mitigation.id).state in ADJUSTED_STATES

    def _take_back(self, one: Throttled) -> None:
        """It was undone while its limits were being set: the late ones must go too."""
        with self.res.store.reading() as tx:
            entry = tx.journal.get(f"{one.mitigation.id}/{one.position}")
        lever_of(self.res, one.step).undo(one.step, entry.state_before if entry else {})


def lever_of(res: Resources, step: Step) -> Lever:
    actuator = get_actuator(res, step.actuator)
    if not isinstance(actuator, HasAdaptive):
        raise QuellError(f"actuator {step.actuator} has no adaptive throttle that can be adjusted")
    return actuator.adaptive


def read_limiter(body: Mapping[str, Any]) -> Limiter:
    """The limiter of a stored document."""
    values: dict[str, Any] = dict(body["limiter"])
    values["stage"] = Stage(values["stage"])
    return Limiter(**values)


def run_adaptive(res: Resources, stopping: threading.Event) -> None:
    """Look and decide until `stopping`; trouble is logged and tried again."""
    controller = Controller(res)
    while not stopping.is_set():
        began = time.monotonic()
        is_active = False
        try:
            is_active = controller.look()
            if not is_active:
                controller.tidy()
        except QuellError as error:  # the store is away; every limit stays as it is
            _LOG.warning("adaptive throttles are not looked at: %s", error)
            stopping.wait(_AWAY_SECONDS)
        except Exception:  # noqa: BLE001 - limits must go on following, whatever happened once
            _LOG.exception("adaptive throttles could not be looked at; it is tried again")
            stopping.wait(_AWAY_SECONDS)
        pause = _LOOK_SECONDS if is_active else _IDLE_SECONDS
        stopping.wait(max(pause - (time.monotonic() - began), 0.05))


def _begin(reading: Reading, bounds: Bounds, in_force: Caps | None) -> Limiter:
    """From the limit that was applied, which was measured while everything waited."""
    begun = start(reading, bounds)
    if in_force is None or in_force.everyone is None:
        return begun
    return replace(begun, limit=max(float(in_force.everyone), bounds.floor_rps))


def _tell(
    tx: Transaction,
    mitigation: Mitigation,
    known: Mapping[str, Any],
    before: Limiter,
    after: Limiter,
    caps: Caps,
    reading: Reading,
    now: datetime,
) -> Mapping[str, Any]:
    """A line on the timeline where the limit has changed notably, not more often than people can read."""
    told_limit, told_at = float(known.get("told_limit", 0.0)), known.get("told_at")
    is_early = told_at is not None and now - datetime.fromisoformat(str(told_at)) < _TOLD_EVERY
    is_notable = abs(after.limit - told_limit) > _TELLING_CHANGE * max(told_limit, 1.0)
    if (is_early or not is_notable) and after.stage is before.stage:
        return {"told_limit": told_limit, "told_at": told_at}
    note(tx, mitigation, "limit adjusted", now=now, by=QUELL, text=_in_words(after, caps, reading))
    return {"told_limit": after.limit, "told_at": now.isoformat()}


def _in_words(after: Limiter, caps: Caps, reading: Reading) -> str:
    clients = ", ".join(f"{name} {limit}" for name, limit in sorted(caps.clients.items(), key=lambda c: -c[1])[:5])
    everyone = f"{caps.everyone} requests per second for all" if caps.everyone else "no limit for all"
    return (
        f"{after.stage}: {everyone}{f'; by client: {clients}' if clients else ''}; "
        f"requests took {min(reading.latency_ms, 1e6):.0f} ms on average, {reading.goodput:.0f} per second answered, "
        f"{reading.offered:.0f} offered, {reading.refused:.0f} refused"
    )
