"""Cases for a canary's judge: endless traffic of both sides, drawn from recorded runs or from heavy-tailed laws."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.canary_recording import Run

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
P99, MORE_ERRORS = 0.10, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one side served, in order."""

    seconds: Floats
    failed: Flags


Draw = Callable[[np.random.Generator, int], tuple[Traffic, Traffic]]  # -> canary, control, of at least so many each


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`kind`: A/A, or A/B: `injected` into recorded or drawn values, `real` (the service itself was worse), `smaller`.

    `smaller` is real and less than what must be caught.
    """

    name: str
    kind: str
    change: str
    most: int  # requests of a side at the deadline
    draw: Draw


def blocks_of(run: Run, *, canary: bool) -> list[Traffic]:
    """What one server answered, second by second."""
    mine = run.is_canary == canary
    at, seconds, failed = run.at[mine], run.seconds[mine], run.failed[mine]
    edges = np.searchsorted(at, np.arange(1, int(run.at[-1]) + 1))
    pieces = zip(np.split(seconds, edges), np.split(failed, edges), strict=True)
    return [Traffic(seconds=s, failed=f) for s, f in pieces][:-1]


def drawn_from(run: Run, *, is_aa: bool) -> Draw:
    """Whole seconds of the run, drawn by lot, the same second for both sides: what they share stays shared.

    For A/A it is decided by lot, second by second, which of the two equal servers is called the canary: what differs
    between the two processes of this one run must not count as a difference of releases.
    """
    sides = [blocks_of(run, canary=flag) for flag in (True, False)]

    def draw(rng: np.random.Generator, most: int) -> tuple[Traffic, Traffic]:
        usual = sum(len(block.seconds) for block in sides[0]) / len(sides[0])
        places = rng.integers(len(sides[0]), size=int(most / usual * 1.1) + 2)
        swaps = rng.integers(2, size=len(places)) if is_aa else np.zeros(len(places), dtype=int)
        chosen = [(sides[swap][place], sides[1 - swap][place]) for place, swap in zip(places, swaps, strict=True)]
        return join([pair[0] for pair in chosen]), join([pair[1] for pair in chosen])

    return draw


def law(latency: Callable[[np.random.Generator, int], Floats], error_ratio: float) -> Draw:
    def draw(rng: np.random.Generator, most: int) -> tuple[Traffic, Traffic]:
        sides = [Traffic(seconds=latency(rng, most), failed=rng.random(most) < error_ratio) for _ in range(2)]
        return sides[0], sides[1]

    return draw


def worse(draw: Draw, change: Callable[[Traffic, np.random.Generator], Traffic]) -> Draw:
    def changed(rng: np.random.Generator, most: int) -> tuple[Traffic, Traffic]:
        canary, control = draw(rng, most)
        return change(canary, rng), control

    return changed


def all_slower(canary: Traffic, rng: np.random.Generator) -> Traffic:  # noqa: ARG001 - one signature for all changes
    return replace(canary, seconds=canary.seconds * (1 + P99))


def stretch_tail(q95: float, q99: float) -> Callable[[Traffic, np.random.Generator], Traffic]:
    """Only the slowest twentieth is stretched, until the 99th percentile is 10 % higher; the rest stays as it is."""
    times = ((1 + P99) * q99 - q95) / (q99 - q95)

    def change(canary: Traffic, rng: np.random.Generator) -> Traffic:  # noqa: ARG001
        slow = canary.seconds > q95
        return replace(canary, seconds=np.where(slow, q95 + (canary.seconds - q95) * times, canary.seconds))

    return change


def more_errors(canary: Traffic, rng: np.random.Generator) -> Traffic:
    return replace(canary, failed=canary.failed | (rng.random(len(canary.failed)) < MORE_ERRORS))


def join(blocks: list[Traffic]) -> Traffic:
    return Traffic(
        seconds=np.concatenate([block.seconds for block in blocks]),
        failed=np.concatenate([block.failed for block in blocks]),
    )


HEAVY: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float, float, int]] = {
    # law, error ratio of both sides, requests of a side at the deadline follow from the tail (quell plan, twice)
    "exponential": (lambda rng, n: rng.exponential(0.05, n), 0.0, 0.046, 60_000),
    "lognormal, sigma 1": (lambda rng, n: rng.lognormal(-3.0, 1.0, n), 0.02, 0.0267, 120_000),
    "Pareto, alpha 2.5": (lambda rng, n: 0.02 * (1 + rng.pareto(2.5, n)), 0.001, 0.025, 150_000),
}


def cases_of(runs: list[Run]) -> list[Case]:
    """A/A and A/B of every recorded run and of every heavy-tailed law."""
    found: list[Case] = []
    for run in runs:
        origin, _, change = run.name.partition("-")
        if change != "none":
            found.append(_recorded(run, origin, change))
            continue
        draw = drawn_from(run, is_aa=True)
        found.append(Case(name=origin, kind="A/A", change="none", most=100_000, draw=draw))
        found += _injected(origin, draw, np.quantile(run.seconds, (0.95, 0.99)), 100_000)
    for name, (latency, errors, _, most) in HEAVY.items():
        draw = law(latency, errors)
        found.append(Case(name=name, kind="A/A", change="none", most=most, draw=draw))
        quantiles = np.quantile(latency(np.random.default_rng(0), 2_000_000), (0.95, 0.99))
        found += _injected(name, draw, quantiles, most)
    return sorted(found, key=lambda case: case.kind)


def _recorded(run: Run, origin: str, change: str) -> Case:
    """By what the recording shows: what proxy, loop and machine add to each request does not grow with the service."""
    canary, control = (join(blocks_of(run, canary=flag)) for flag in (True, False))
    p99 = float(np.quantile(canary.seconds, 0.99) / np.quantile(control.seconds, 0.99)) - 1
    more = float(canary.failed.mean() - control.failed.mean())
    is_full = more >= 0.9 * MORE_ERRORS if change == "errors" else p99 >= 0.9 * P99
    seen = f"errors {100 * more:+.1f} pp" if change == "errors" else f"p99 {p99:+.1%}"
    return Case(
        name=origin,
        kind="A/B real" if is_full else "A/B smaller",
        change=f"{change}, {seen}",
        most=100_000,
        draw=drawn_from(run, is_aa=False),
    )


def _injected(name: str, draw: Draw, quantiles: Floats, most: int) -> list[Case]:
    changes = {
        "p99 +10 %, all": all_slower,
        "p99 +10 %, tail": stretch_tail(float(quantiles[0]), float(quantiles[1])),
        "errors +1 pp": more_errors,
    }
    return [
        Case(name=name, kind="A/B injected", change=change, most=most, draw=worse(draw, how))
        for change, how in changes.items()
    ]
