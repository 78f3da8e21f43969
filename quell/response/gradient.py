"""The gradient method: a limit on admitted requests that follows what the service can do, and lets go when it may.

How much lower: new = limit * clamp(bound / latency, 0.5, 1), as in Gradient2 of Netflix's concurrency-limits; its
idea is TCP Vegas' (Brakmo, O'Malley and Peterson, SIGCOMM 1994): latency that rises says that a queue grows. Where to
return: to the rate of answers that was measured while requests were waiting, which is what the service can do, as BBR
measures a bottleneck (Cardwell et al., ACM Queue 14(5), 2016); creeping up from below would cost half a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from quell.response.fairness import max_min
from quell.response.traffic import Reading

_LEAST_GRADIENT = 0.5  # Gradient2's own: one reading never takes more than half
_PROBE = 1.01  # per reading, while it holds and nothing waits: the service may be able to do more by now
_MOST_PROBED = 1.1  # of what was measured
_MOST_RISE = 0.5  # of what was measured, per reading: a limit that opens at once lets a burst in
_SMOOTH = 0.2  # weight of one reading in what the service can do; the first few count evenly
_DEMAND_SMOOTH = 0.5
_LEAST_DEMAND = 0.5  # requests per second; who offers less is forgotten
_MOST_CLIENTS = 20  # limits of their own; who is smaller is left to the limit on everything
_PATIENCE = 3  # readings with limits on clients alone, before everything is limited


class Stage(StrEnum):
    HOLDING = "holding"
    RELEASING = "releasing"
    OVER = "over"  # it has not bound for long enough: to be lifted


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`latency_ms`: the mean time over which the service counts as overloaded. The limit never falls below
    `floor_rps`, it aims at the share `cruise` of what the service can do. Once it has not bound for `hold` readings it
    is raised by the factor `raised_by`, and after `raises` of those it is over.
    """

    latency_ms: float
    floor_rps: float
    cruise: float = 0.96
    hold: int = 5
    raised_by: float = 1.25
    raises: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiter:
    """`limit` is in admitted requests per second over all; `capacity` is what the service can do, measured
    `measured` times. `calm_for` counts readings in which nothing was refused, `waiting_for` those in which requests
    waited too long. `demands` is what each client offers, smoothed.
    """

    limit: float
    capacity: float
    measured: int = 1
    stage: Stage = Stage.HOLDING
    calm_for: int = 0
    raised: int = 0
    waiting_for: int = 0
    demands: Mapping[str, float] = field(default_factory=dict[str, float])
    offered: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What the load balancer is told: `everyone` together (None: no limit), and single clients, per second."""

    everyone: int | None
    clients: Mapping[str, int] = field(default_factory=dict[str, int])


def start(reading: Reading, bounds: Bounds) -> Limiter:
    """The limit with which it begins: a share of what the service answers now, for it is overloaded now."""
    capacity = max(reading.goodput, bounds.floor_rps)
    limit = max(bounds.cruise * capacity, bounds.floor_rps)
    return Limiter(limit=limit, capacity=capacity, demands=reading.demands, offered=reading.offered)


def advance(limiter: Limiter, reading: Reading, bounds: Bounds, *, may_tighten: bool = True) -> Limiter:
    """The next limiter. Without `may_tighten` (the kill switch) the limit is never lowered."""
    waits = reading.latency_ms > bounds.latency_ms
    seen = _measure(_follow(limiter, reading), reading, bounds)
    seen = replace(seen, waiting_for=limiter.waiting_for + 1 if waits else 0)
    if waits:
        after = _tighten(seen, reading, bounds)
    elif reading.refused > 0:
        after = _hold(seen, bounds)
    else:
        after = _release(seen, bounds)
    return after if may_tighten or after.limit >= limiter.limit else replace(after, limit=limiter.limit)


def caps_of(limiter: Limiter, *, usual: Mapping[str, float] | None = None) -> Caps:
    """Per client first, then everybody: only who takes more than a fair share is limited, if that is enough.

    Requests without a client's name, or of many small clients, cannot be told apart: they share the limit on
    everything. It also comes when limits on clients have not helped for a few readings.
    """
    nameless = max(limiter.offered - sum(limiter.demands.values()), 0.0)
    shares = max_min({**limiter.demands, "": nameless}, limiter.limit, usual=usual or {})
    cut = [name for name, demand in limiter.demands.items() if shares[name] < demand]
    largest = sorted(cut, key=lambda name: (-limiter.demands[name], name))[:_MOST_CLIENTS]
    is_enough = bool(cut) and len(cut) == len(largest) and shares[""] >= nameless - _noise(limiter)
    everyone = None if is_enough and limiter.waiting_for < _PATIENCE else max(round(limiter.limit), 1)
    return Caps(everyone=everyone, clients={name: max(round(shares[name]), 1) for name in largest})


def _noise(limiter: Limiter) -> float:
    """What may be nameless without a limit for it: chance makes small numbers jump."""
    return 0.05 * limiter.limit


def _follow(limiter: Limiter, reading: Reading) -> Limiter:
    names = {*limiter.demands, *reading.demands}
    smooth = {
        name: reading.demands[name]
        if name in reading.demands and name not in limiter.demands
        else _toward(limiter.demands.get(name, 0.0), reading.demands.get(name, 0.0), _DEMAND_SMOOTH)
        for name in names
    }
    demands = {name: demand for name, demand in smooth.items() if demand >= _LEAST_DEMAND}
    return replace(limiter, demands=demands, offered=_toward(limiter.offered, reading.offered, _DEMAND_SMOOTH))


def _measure(limiter: Limiter, reading: Reading, bounds: Bounds) -> Limiter:
    """What the service can do is seen only while requests wait all the time; otherwise it can do at least this."""
    if reading.least_latency_ms > bounds.latency_ms:
        weight = max(_SMOOTH, 1 / (limiter.measured + 1))
        capacity = _toward(limiter.capacity, reading.goodput, weight)
        return replace(limiter, capacity=max(capacity, bounds.floor_rps), measured=limiter.measured + 1)
    return replace(limiter, capacity=max(limiter.capacity, _toward(limiter.capacity, reading.goodput, _SMOOTH / 2)))


def _tighten(limiter: Limiter, reading: Reading, bounds: Bounds) -> Limiter:
    gradient = max(_LEAST_GRADIENT, bounds.latency_ms / reading.latency_ms if reading.latency_ms < inf else 0.0)
    limit = min(limiter.limit, bounds.cruise * limiter.capacity) * gradient
    return replace(limiter, limit=max(limit, bounds.floor_rps), stage=Stage.HOLDING, calm_for=0, raised=0)


def _hold(limiter: Limiter, bounds: Bounds) -> Limiter:
    """It binds and nothing waits: up to what the service can do at once, and from there on by small trials."""
    home = bounds.cruise * limiter.capacity
    limit = limiter.limit * _PROBE if limiter.limit >= home else home
    limit = min(limit, limiter.limit + _MOST_RISE * limiter.capacity, _MOST_PROBED * limiter.capacity)
    if limiter.stage is not Stage.HOLDING:  # the surge is back while it was being released
        limit = home
    return replace(limiter, limit=max(limit, bounds.floor_rps), stage=Stage.HOLDING, calm_for=0, raised=0)


def _release(limiter: Limiter, bounds: Bounds) -> Limiter:
    """Nothing is refused and nothing waits: raise in steps, look between them, and in the end let go."""
    calm_for = limiter.calm_for + 1
    limit = max(limiter.limit, bounds.cruise * limiter.capacity if limiter.stage is Stage.HOLDING else 0.0)
    limit = min(limit, limiter.limit + _MOST_RISE * limiter.capacity)
    if calm_for < bounds.hold:
        return replace(limiter, limit=limit, calm_for=calm_for)
    if limiter.raised >= bounds.raises:
        return replace(limiter, stage=Stage.OVER, calm_for=calm_for)
    return replace(
        limiter, limit=limit * bounds.raised_by, stage=Stage.RELEASING, calm_for=0, raised=limiter.raised + 1
    )


def _toward(before: float, now: float, weight: float) -> float:
    return before + weight * (now - before)
