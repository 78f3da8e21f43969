"""Random sequences of a fix of a service in two colours, its taking back, and kill -9 in between.

After each kill, before anybody has reconciled anything, the colour that serves is whole: its instances run one and the
same, and nothing that was never committed. After reconciliation within a minute the colour that serves runs what the
branch says, no requests are split off, and the other colour is as it was (warm, or never touched) or runs what the
branch says too; when its time as the warm one is over it does.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.colour_ground import (
    BLUE,
    COLOURS,
    GREEN,
    ROUTE,
    TEXT,
    break_colour,
    break_it,
    colour_resources,
    committed,
    open_incident,
    put_right,
    route_of,
    runs,
)
from benchmarks.fix_faults import Sequence, commits_like, faults_of_record, fixes_of, left_over, stands
from benchmarks.fix_sequences import PASSES, Sequences
from tasks.resolution import reconcile_fixes
from tasks.resources import Resources

_GOOD, _BAD = TEXT.splitlines()[0], "payment_timeout_ms: 5"


class ColourSequences(Sequences):
    """As the sequences of one instance, on a service in two colours; people only look on."""

    def _begin(self, number: int, kind: str, act: str) -> Sequence:  # noqa: ARG002 - people only look on
        self._later += 3 * ROUTE.keep_warm.total_seconds()
        one = Sequence(number=number, kind=kind, act="nothing", instance="shop")
        if kind == "bad fix":
            break_colour(self._ground, GREEN, "/")
        res = self._resources()
        one.incident = open_incident(res, break_it(self._ground))
        res.store.close()
        return one

    def _resources(self, seconds: float = 0.0) -> Resources:
        return colour_resources(replace(self._ground, later=self._later + seconds))

    def _after_kill(self, one: Sequence) -> None:
        live = route_of(self._ground)["backends"]
        if len(found := runs(self._ground, live)) != 1:
            one.broken.append(f"not whole: {live} serves {sorted(found)} after {one.kills[-1]}")

    def _faults(self, res: Resources, one: Sequence) -> Iterator[str]:
        yield from one.broken
        yield from faults_of_record(self._ground, res, one)
        yield from left_over(self._ground)
        is_good = stands(fixes_of(res, one))
        if (said := committed(self._ground)) != (_GOOD if is_good else _BAD):
            yield f"wrong: main says {said}, the fix {'stands' if is_good else 'does not stand'}"
        route = route_of(self._ground)
        if route != {"backends": GREEN if is_good else BLUE, "splits": "none:0"}:
            yield f"proxy: the route is {route}, the fix {'stands' if is_good else 'does not stand'}"
        idle = committed(self._ground)
        if any(fix.warm_until for fix in fixes_of(res, one)):
            idle = _BAD
        elif not any(commits_like(self._ground, f"^Fix: {fix.id}$") for fix in fixes_of(res, one)):
            idle = _GOOD  # nothing came of it, and nobody has touched the idle colour
        yield from self._differences(idle)
        reconcile_fixes(self._resources(PASSES[-1] + ROUTE.keep_warm.total_seconds()))
        yield from self._differences(committed(self._ground) if idle == _BAD else idle)

    def _differences(self, idle: str) -> Iterator[str]:
        """Where the colour that serves does not run what the branch says, or the other not `idle`, each as a whole."""
        live = route_of(self._ground)["backends"]
        for backend in COLOURS:
            wanted = committed(self._ground) if backend == live else idle
            if (found := runs(self._ground, backend)) != {wanted}:
                yield f"differs: {backend} runs {sorted(found)}, it should be {wanted}"

    def _put_away(self, one: Sequence) -> None:  # noqa: ARG002 - as the other sequences have it
        put_right(self._ground)
