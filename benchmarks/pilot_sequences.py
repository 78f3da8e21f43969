"""Random sequences of a fix that one instance gets before the others, its taking back, and kill -9 in between.

In half of them the instance is out of the traffic already, to contain the incident; in some a person deploys another
change of the same file everywhere meanwhile. After each kill, before anybody has reconciled anything, no instance has
the fix and more weight than the canary's while it is not promoted, and no two instances are without weight. After
reconciliation within a minute every instance runs what the branch says, and has the weight that it had before.
"""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from benchmarks.colour_ground import FILE, TEXT, committed, open_incident
from benchmarks.fix_faults import Sequence, faults_of_record, fixes_of, is_locked, left_over, stands
from benchmarks.fix_ground import INSTANCES, git
from benchmarks.fix_sequences import PASSES, Sequences
from benchmarks.fix_victim import Order
from benchmarks.pilot_ground import (
    PILOT,
    break_all,
    deploy,
    drain,
    pilot_resources,
    put_right,
    runs_of,
    servers_of,
)
from tasks.effect import undo_mitigation
from tasks.record import get_mitigation
from tasks.resources import Resources

_GOOD, _BAD = TEXT.splitlines()[0], "payment_timeout_ms: 5"
_MOST = 22  # the canary's weight beside two siblings of 100
_LATER = 1800.0


class PilotSequences(Sequences):
    """As the sequences of one instance, where the one file is that of all."""

    def _begin(self, number: int, kind: str, act: str) -> Sequence:
        self._later += _LATER
        drained = self._dice.choice(("", INSTANCES[0]))
        act = "other key" if act == "other key" else "nothing"
        one = Sequence(number=number, kind=kind, act=act, instance=drained or PILOT)
        res = self._resources()
        one.bad = break_all(self._ground)
        one.incident = open_incident(res, one.bad)
        if drained:
            one.mitigation = drain(res, one.incident, drained)
        if kind == "bad fix":
            self._ground.broken(one.instance).write_text("/")
        res.store.close()
        return one

    def _resources(self, seconds: float = 0.0) -> Resources:
        return pilot_resources(replace(self._ground, later=self._later + seconds))

    def _first_order(self, one: Sequence) -> Order:
        order = super()._first_order(one)
        if one.kind == "taken back":  # promoted: what contained it is released
            one.mitigation = ""
        return order

    def _act(self, one: Sequence) -> None:
        """A person deploys another key everywhere, once; who finds the repository locked comes again later."""
        if one.acted or one.act == "nothing" or is_locked(self._ground):
            return
        with suppress(subprocess.CalledProcessError, FileNotFoundError):  # somebody was faster
            deploy(self._ground, "workers", self._dice.randint(100, 900), "more workers")
            one.acted = True

    def _after_kill(self, one: Sequence) -> None:
        servers, runs = servers_of(self._ground), runs_of(self._ground)
        res = self._resources()
        is_promoted = one.kind == "taken back" or stands(fixes_of(res, one))
        res.store.close()
        for name in INSTANCES if not is_promoted and not one.acted else ():
            if runs[name] == _GOOD and servers[name][0] == "ready" and servers[name][1] > _MOST:
                one.broken.append(f"exposed: {name} has the fix and weight {servers[name][1]} after {one.kills[-1]}")
        out = [name for name, (_, weight) in servers.items() if weight == 0]
        if len(out) > 1:
            one.broken.append(f"exposed: {', '.join(out)} are without weight after {one.kills[-1]}")

    def _faults(self, res: Resources, one: Sequence) -> Iterator[str]:
        yield from one.broken
        yield from faults_of_record(self._ground, res, one)
        yield from left_over(self._ground)
        is_good = stands(fixes_of(res, one))
        if (said := committed(self._ground)) != (_GOOD if is_good else _BAD):
            yield f"wrong: main says {said}, the fix {'stands' if is_good else 'does not stand'}"
        text = git(self._ground.repository, "show", f"main:{FILE}")
        for name in INSTANCES:
            if (runs := self._ground.running(name).strip()) != text:
                yield f"differs: {name} runs {runs.split()[:2]}, main says {text.split()[:2]}"
        holds = False
        if one.mitigation:
            with res.store.reading() as tx:
                holds = get_mitigation(tx, one.mitigation).is_holding
            if holds is is_good:
                yield f"proxy: {one.mitigation} {'holds' if holds else 'is over'}"
        for name, found in servers_of(self._ground).items():
            wanted = ("drain" if holds and name == one.instance else "ready", 100)
            if found != wanted:
                yield f"proxy: {name} is {found}, it was {wanted}"

    def _put_away(self, one: Sequence) -> None:
        if one.mitigation:
            res = self._resources(PASSES[-1] + 25)
            undo_mitigation(res, one.mitigation, "bob", "the next sequence")
            res.store.close()
        put_right(self._ground)
