"""The cost of active safeguards: measured once a second, kept with the mitigation, and a reason to lift it.

In calm times the same look learns what each client usually sends; while an incident or a mitigation is on, nothing is
learned, or the flood would be usual tomorrow.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable
from uuid import uuid4

from quell.incidents.errors import QuellError
from quell.incidents.incident import ACTIVE_STATES as OPEN_INCIDENTS
from quell.incidents.mitigation import Mitigation, Step
from quell.ports import Document, Transaction
from quell.response.cost import Cost, Stretch, charge, cost_document, read_cost, too_dear, with_latency, write_cost
from quell.response.playbook import Limits
from quell.response.traffic import ClientCount, Requests, Traffic, count_between, read_rates
from quell.response.usual import learn, most_of
from tasks.adaptive import ADAPTIVE, ADJUSTED_STATES, lever_of
from tasks.effect import undo_mitigation
from tasks.lease import take_turn
from tasks.levers import get_actuator
from tasks.record import ACTIVE_STATES, QUELL, get_mitigation
from tasks.resources import Resources
from tasks.usual import USUAL, read_usual, write_usual

COST = "cost"  # the kind of the document
REFUSING = ("throttle", "throttle_all", "shed", ADAPTIVE)  # actions that refuse requests
_LOG = logging.getLogger("quell.safeguards")
_LOOK_SECONDS = 1.0
_LEARN_EVERY_SECONDS = 10.0
_AWAY_SECONDS = 5.0
_LEASE_TIME = timedelta(seconds=5)


@runtime_checkable
class CountsRequests(Protocol):
    """An actuator that counts requests by client, admitted and refused."""

    def requests(self) -> Requests: ...


@dataclass(slots=True)
class Meter:
    """One look a second at every actuator that counts; `looks` are the last ones, by actuator and mitigation."""

    res: Resources
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    looks: dict[str, Requests] = field(default_factory=dict[str, Requests])
    times: dict[str, Traffic] = field(default_factory=dict[str, Traffic])
    learned_from: dict[str, Requests] = field(default_factory=dict[str, Requests])

    def look(self) -> None:
        """Charge what is on, or learn what is usual."""
        with self.res.store.reading() as tx:
            on = [m for m in tx.mitigations.find({"state": ADJUSTED_STATES}) if refusing_steps(m)]
            is_calm = not tx.mitigations.count({"state": ACTIVE_STATES}, at_most=1) and not tx.incidents.count(
                {"state": tuple(OPEN_INCIDENTS)}, at_most=1
            )
        for name in self._counting():
            try:
                self._look_at(name, on, is_calm=is_calm)
            except QuellError as error:
                self.looks.pop(name, None)
                _LOG.debug("%s is not measured: %s", name, error)  # a configuration without the tables: docs/surge.md

    def _counting(self) -> list[str]:
        return [name for name, actuator in self.res.actuators.items() if isinstance(actuator, CountsRequests)]

    def _look_at(self, name: str, on: list[Mitigation], *, is_calm: bool) -> None:
        mine = [m for m in on if any(step.actuator == name for step in refusing_steps(m))]
        if is_calm:
            self._learn(name)
            return
        self.learned_from.pop(name, None)
        if not mine:
            self.looks.pop(name, None)
            return
        now, before = _requests(self.res, name), self.looks.get(name)
        self.looks[name] = now
        counted = count_between(before, now) if before else None
        if before is None or counted is None:
            return
        for mitigation in mine:
            self._charge(mitigation, name, now.at_seconds - before.at_seconds, *counted)

    def _charge(
        self,
        mitigation: Mitigation,
        actuator: str,
        seconds: float,
        total: ClientCount,
        clients: Mapping[str, ClientCount],
    ) -> None:
        book = self.res.config.playbooks.get(mitigation.playbook)
        limits = book.limits if book else Limits()
        stretch = _stretch_of(mitigation, actuator, seconds, total, clients)
        latency = self._latency(mitigation)
        with self.res.store.writing() as tx:
            now = self.res.clock()
            id = cost_document(mitigation.id)
            if get_mitigation(tx, mitigation.id).state not in ADJUSTED_STATES:
                return
            if not take_turn(tx, id, self.holder, now=now, time_held=_LEASE_TIME):
                return
            usual = most_of(read_usual(tx, actuator))
            cost = charge(cost_of(tx, mitigation.id) or Cost(), stretch, usual, now=now, window=limits.refused_window)
            cost = with_latency(cost, latency)
            tx.documents.put(Document(id=id, kind=COST, updated_at=now, body=write_cost(cost)))
        if reason := too_dear(cost, limits.most_refused):
            _LOG.warning("%s is lifted: %s", mitigation.id, reason)
            undo_mitigation(self.res, mitigation.id, QUELL, f"its cost is over its limit: {reason}")

    def _latency(self, mitigation: Mitigation) -> float | None:
        """The mean time of an admitted request since the last look, where a step names the backend that is measured."""
        step = next((step for step in mitigation.plan.steps if step.action == ADAPTIVE), None)
        if step is None:
            return None
        before, now = self.times.get(mitigation.id), lever_of(self.res, step).traffic(step)
        self.times[mitigation.id] = now
        reading = read_rates([before, now]) if before else None
        return reading.latency_ms if reading and reading.latency_ms < float("inf") else None

    def _learn(self, name: str) -> None:
        before = self.learned_from.get(name)
        if before is not None and time.monotonic() - before.at_seconds < _LEARN_EVERY_SECONDS:
            return
        self.learned_from[name] = now = _requests(self.res, name)
        counted = count_between(before, now) if before else None
        if before is None or counted is None:
            return
        seconds = now.at_seconds - before.at_seconds
        rates = {client: count.offered / seconds for client, count in counted[1].items()}
        with self.res.store.writing() as tx:
            at = self.res.clock()
            if take_turn(tx, f"{USUAL} {name}", self.holder, now=at, time_held=3 * _LEASE_TIME):
                write_usual(tx, name, learn(read_usual(tx, name), rates), at)


def refusing_steps(mitigation: Mitigation) -> list[Step]:
    return [step for step in mitigation.plan.steps if step.action in REFUSING]


def cost_of(tx: Transaction, mitigation: str) -> Cost | None:
    """What a mitigation has cost so far; None where nothing was measured."""
    found = tx.documents.get(cost_document(mitigation))
    return read_cost(found.body) if found else None


def run_meter(res: Resources, stopping: threading.Event) -> None:
    """Look until `stopping`; trouble is logged and tried again."""
    meter = Meter(res)
    while not stopping.is_set():
        began = time.monotonic()
        try:
            meter.look()
        except QuellError as error:  # the store is away
            _LOG.warning("the cost of safeguards is not measured: %s", error)
            stopping.wait(_AWAY_SECONDS)
        except Exception:  # noqa: BLE001 - the next look may work, and costs must not go unseen
            _LOG.exception("the cost of safeguards could not be measured; it is tried again")
            stopping.wait(_AWAY_SECONDS)
        stopping.wait(max(_LOOK_SECONDS - (time.monotonic() - began), 0.1))


def _requests(res: Resources, name: str) -> Requests:
    actuator = get_actuator(res, name)
    if not isinstance(actuator, CountsRequests):
        raise QuellError(f"actuator {name} counts no requests")
    return actuator.requests()


def _stretch_of(
    mitigation: Mitigation, actuator: str, seconds: float, total: ClientCount, clients: Mapping[str, ClientCount]
) -> Stretch:
    """What concerns the mitigation: the clients that its steps name, or everybody.

    HAProxy does not say which of several limits refused a request: safeguards on the same clients show the same.
    """
    named = set(_named_clients(step for step in refusing_steps(mitigation) if step.actuator == actuator))
    if None in named:
        return Stretch(seconds=seconds, offered=total.offered, refused=total.refused, clients=clients)
    own = {name: count for name, count in clients.items() if name in named}
    offered, refused = (sum(getattr(count, what) for count in own.values()) for what in ("offered", "refused"))
    return Stretch(seconds=seconds, offered=offered, refused=refused, clients=own)


def _named_clients(steps: Iterable[Step]) -> Iterable[str | None]:
    for step in steps:
        kind, _, name = step.target.partition(":")
        yield name.lower() if kind == "client" else None
