"""The gradient method: a limit on admitted requests that follows what the service can do, and lets go when it may.

The gradient is bound / latency, as in Gradient2 of Netflix's concurrency-limits; TCP Vegas (Brakmo, O'Malley and
Peterson, SIGCOMM 1994) reads from it how many requests wait: in flight * (1 - gradient). The limit is on a rate, so
what waits is taken off it for a second: it falls to its floor when more than a second of work waits, and by a hundredth
when a hundredth does. Where it returns to is the rate of answers measured while requests were waiting, which is what
the service can do, as BBR measures a bottleneck (Cardwell et al., ACM Queue 14(5), 2016); creeping up from below would
cost half a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from quell.response.fairness import max_min
from quell.response.traffic import Reading

READING_SECONDS = 0.5  # apart; what follows counts readings
_CALM_START = 2.0  # times the use
_PROBE = 0.005  # of the limit, per reading, while it holds and nothing waits: the service may be able to do more by now
_FASTEST_PROBE = 4  # times that, after as many readings in which nothing waited: it was measured far too low
_MOST_PROBED = 1.25  # of what was measured
_MOST_RISE = 0.5  # of what was measured, per reading: a limit that opens at once lets a burst in
_SMOOTH = 0.1  # weight of one reading in what the service can do; the first few count evenly
_DEMAND_SMOOTH = 0.3
_LEAST_DEMAND = 0.5  # requests per second; who offers less is forgotten
_MOST_FOLLOWED = 200  # clients; anybody may invent names, and what the others send counts as nameless
_MOST_CLIENTS = 20  # limits of their own; who is smaller is left to the limit on everything
_CERTAIN = 3  # readings in a row, before a wait counts while nothing is refused: with little traffic chance is large
_PATIENCE = 20  # readings with limits on clients alone, before everything is limited


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
    cruise: float = 0.98
    hold: int = 10
    raised_by: float = 1.25
    raises: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limiter:
    """`limit` is in admitted requests per second over all; `capacity` is what the service can do, measured
    `measured` times. `calm_for` counts readings in which nothing was refused, `waiting_for` those in which requests
    waited too long, `smooth_for` those since. `demands` is what each client offers, smoothed.
    """

    limit: float
    capacity: float
    measured: int = 1
    stage: Stage = Stage.HOLDING
    calm_for: int = 0
    raised: int = 0
    waiting_for: int = 0
    smooth_for: int = 0
    demands: Mapping[str, float] = field(default_factory=dict[str, float])
    offered: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What the load balancer is told: `everyone` together (None: no limit), and single clients, per second."""

    everyone: int | None
    clients: Mapping[str, int] = field(default_factory=dict[str, int])


def start(reading: Reading, bounds: Bounds) -> Limiter:
    """The limit with which it begins: what the service answers now, for it is overloaded now, less what waits.

    Where it is not overloaded nothing is known of what it can do, and the limit is far enough above the use.
    """
    capacity = max(reading.goodput, bounds.floor_rps)
    begun = Limiter(limit=capacity, capacity=capacity, demands=reading.demands, offered=reading.offered)
    if reading.latency_ms <= bounds.latency_ms:
        return replace(begun, limit=_CALM_START * max(capacity, reading.offered))
    return replace(begun, limit=_drained(begun, reading, bounds))


def advance(limiter: Limiter, reading: Reading, bounds: Bounds, *, may_tighten: bool = True) -> Limiter:
    """The next limiter. Without `may_tighten` (the kill switch) the limit is never lowered."""
    waits = reading.latency_ms > bounds.latency_ms
    seen = _measure(_follow(limiter, reading), reading, bounds)
    seen = replace(
        seen,
        waiting_for=limiter.waiting_for + 1 if waits else 0,
        smooth_for=0 if waits else limiter.smooth_for + 1,
    )
    if waits and (reading.refused > 0 or seen.waiting_for >= _CERTAIN):
        after = _tighten(seen, reading, bounds)
    elif reading.refused > 0:
        after = _hold(seen, bounds)
    else:
        after = _release(seen, bounds)
    return after if may_tighten or after.limit >= limiter.limit else replace(after, limit=limiter.limit)


def caps_of(limiter: Limiter, *, usual: Mapping[str, float] | None = None) -> Caps:
    """Per client first, then everybody: only who takes more than a fair share is limited, if that is enough.

    What waits is taken off those alone, too: who asks for less than a fair share of what the service can do gets it
    all, also while a queue is worked off. Requests without a client's name, or of many small clients, cannot be told
    apart: they share the limit on everything. It also comes when limits on clients have not helped for long.
    """
    nameless = max(limiter.offered - sum(limiter.demands.values()), 0.0)
    asked = {**limiter.demands, "": nameless}
    fair = max_min(asked, max(limiter.capacity, limiter.limit), usual=usual or {})
    modest = {name: demand for name, demand in asked.items() if fair[name] >= demand}
    greedy = {name: demand for name, demand in asked.items() if name not in modest}
    rest = max_min(greedy, limiter.limit - sum(modest.values()), usual=usual or {})
    shares = {**modest, **rest}
    largest = sorted(set(greedy) - {""}, key=lambda name: (-greedy[name], name))[:_MOST_CLIENTS]
    is_enough = bool(largest) and len({*greedy} - {""}) == len(largest) and shares[""] >= nameless - _noise(limiter)
    everyone = max(limiter.limit, sum(shares.values())) if greedy else limiter.limit
    return Caps(
        everyone=None if is_enough and limiter.waiting_for < _PATIENCE else max(round(everyone), 1),
        clients=_whole({name: shares[name] for name in largest}),
    )


def _whole(shares: Mapping[str, float]) -> Mapping[str, int]:
    """Whole numbers with the same sum (largest remainders), none below 1."""
    left = round(sum(shares.values())) - sum(int(share) for share in shares.values())
    favoured = sorted(shares, key=lambda name: (int(shares[name]) - shares[name], name))[: max(left, 0)]
    return {name: max(int(share) + (name in favoured), 1) for name, share in shares.items()}


def _noise(limiter: Limiter) -> float:
    """What may be nameless without a limit for it: chance makes small numbers jump."""
    return 0.05 * limiter.capacity


def _follow(limiter: Limiter, reading: Reading) -> Limiter:
    names = {*limiter.demands, *reading.demands}
    smooth = {
        name: reading.demands[name]
        if name in reading.demands and name not in limiter.demands
        else _toward(limiter.demands.get(name, 0.0), reading.demands.get(name, 0.0), _DEMAND_SMOOTH)
        for name in names
    }
    largest = sorted(smooth, key=lambda name: (-smooth[name], name))[:_MOST_FOLLOWED]
    demands = {name: smooth[name] for name in largest if smooth[name] >= _LEAST_DEMAND}
    return replace(limiter, demands=demands, offered=_toward(limiter.offered, reading.offered, _DEMAND_SMOOTH))


def _measure(limiter: Limiter, reading: Reading, bounds: Bounds) -> Limiter:
    """What the service can do is seen only while requests wait all the time; otherwise it can do at least this."""
    if reading.least_latency_ms > bounds.latency_ms:
        weight = max(_SMOOTH, 1 / (limiter.measured + 1))
        capacity = _toward(limiter.capacity, reading.goodput, weight)
        return replace(limiter, capacity=max(capacity, bounds.floor_rps), measured=limiter.measured + 1)
    return replace(limiter, capacity=max(limiter.capacity, _toward(limiter.capacity, reading.goodput, _SMOOTH / 2)))


def _tighten(limiter: Limiter, reading: Reading, bounds: Bounds) -> Limiter:
    limit = min(_drained(limiter, reading, bounds), limiter.limit + _MOST_RISE * limiter.capacity)
    return replace(limiter, limit=limit, stage=Stage.HOLDING, calm_for=0, raised=0)


def _drained(limiter: Limiter, reading: Reading, bounds: Bounds) -> float:
    """What the service can do, less what waits longer than the bound, taken off over one second."""
    waiting_seconds = max(reading.in_flight / limiter.capacity - bounds.latency_ms / 1000, 0.0)
    return max(limiter.capacity * (bounds.cruise - min(waiting_seconds, 1.0)), bounds.floor_rps)


def _hold(limiter: Limiter, bounds: Bounds) -> Limiter:
    """It binds and nothing waits: up to what the service can do at once, and from there on by small trials."""
    home = bounds.cruise * limiter.capacity
    probed = limiter.limit * (1 + _PROBE * min(limiter.smooth_for, _FASTEST_PROBE))
    limit = probed if limiter.limit >= home else home
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
