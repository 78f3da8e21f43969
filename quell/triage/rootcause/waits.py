"""Waits: callers wait longer, no callee takes longer. Then it is the way to one of them, and this says to which.

A delay on the way to one callee slows the share of a caller's calls that go there. So the percentiles of what the
caller waits for rise from one minus that share on: a callee with a tenth of the calls moves the 95th percentile and
leaves the median alone, and callers that do not call it notice nothing. Each callee is a hypothesis with a likelihood;
calls are split by how many each callee answers. What the callees themselves take longer takes it back.
"""

from dataclasses import dataclass

import numpy as np

from quell.triage.rootcause.calls import Graph
from quell.triage.rootcause.share import saturate
from quell.triage.rootcause.shift import Shifts
from quell.triage.rootcause.vocabulary import Kind, Side
from quell.triage.rootcause.window import Observation

SHARPNESS = 2.0  # of the edge between percentiles that a share of calls moves and those it does not
HIDDEN = 0.4  # a percentile that was this large a part of the wait before cannot show it
LIKELY_RISEN = 0.3
RISEN_Z = 2.0  # a z at which having risen is as likely as not
LEAST_GAIN, HALF_GAIN = 0.6, 1.2  # logarithms of the likelihood ratio against "nothing happened"


@dataclass(frozen=True, kw_only=True)
class Wait:
    callee: str
    caller: str
    column: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class _Percentile:
    caller: str
    column: int
    quantile: float
    risen: float  # probability
    base: float
    now: float


def weigh_waits(
    seen: Observation, shifts: Shifts, graph: Graph, volume: dict[str, float], slow: dict[str, float]
) -> tuple[Wait, ...]:
    """`volume`: calls answered per node; `slow`: 0..1 per node, how sure its own slowness is."""
    percentiles = _read(seen, shifts)
    if not percentiles:
        return ()
    percentiles = [p for p in percentiles if p.caller in graph.callees]
    longest = {p.caller: p.now for p in sorted(percentiles, key=lambda p: p.now) if p.risen > LIKELY_RISEN}
    percentiles = [p for p in percentiles if p.base < HIDDEN * longest.get(p.caller, np.inf)]
    if not percentiles:
        return ()
    share = _shares(graph, volume)
    candidates = sorted({callee for _, callee in share} & set(seen.nodes))
    gains = {callee: sum(_gain(p, share.get((p.caller, callee), 0.0)) for p in percentiles) for callee in candidates}
    best = max(gains.values(), default=0.0)
    found: list[Wait] = []
    for callee, gain in gains.items():
        strongest = max(percentiles, key=lambda p: p.risen * ((p.caller, callee) in share))
        explained = max((slow.get(other, 0.0) for other in graph.callees.get(strongest.caller, ())), default=0.0)
        likely = float(saturate(gain - LEAST_GAIN, HALF_GAIN)) * float(np.exp(gain - best)) ** 0.5
        if likely * (1 - explained) > 0:
            found.append(Wait(callee=callee, caller=strongest.caller, column=strongest.column,
                              strength=likely * (1 - explained)))  # fmt: skip
    return tuple(found)


def _read(seen: Observation, shifts: Shifts) -> list[_Percentile]:
    found: list[_Percentile] = []
    for place, meaning in enumerate(seen.meanings):
        if meaning.kind is Kind.LATENCY and meaning.side is Side.WAITS:
            z = max(float(shifts.z[place]), 0.0)
            found.append(
                _Percentile(
                    caller=seen.columns[place][0], column=place, quantile=meaning.quantile or 0.5,
                    base=float(shifts.base[place]), now=float(shifts.now[place]),
                    risen=float(np.clip(z**2 / (z**2 + RISEN_Z**2), 0.02, 0.98)),
                )
            )  # fmt: skip
    return found


def _shares(graph: Graph, volume: dict[str, float]) -> dict[tuple[str, str], float]:
    """Share of a caller's calls that go to each callee, when callers use a callee in proportion to their own volume.

    A caller calls each callee about once a call at least, unless the callee answers fewer calls than that.
    """
    calls: dict[tuple[str, str], float] = {}
    for caller, callees in graph.callees.items():
        for callee in callees:
            callers = graph.callers[callee]
            total = sum(volume.get(other, 1.0) for other in callers)
            part = volume.get(caller, 1.0) / total if total > 0 else 1 / len(callers)
            answered = volume.get(callee, 1.0)
            calls[caller, callee] = min(answered, max(answered * part, volume.get(caller, 0.0)))
    made: dict[str, float] = {}
    for (caller, _), count in calls.items():
        made[caller] = made.get(caller, 0.0) + count
    return {pair: count / made[pair[0]] for pair, count in calls.items() if made[pair[0]] > 0}


def _gain(percentile: _Percentile, share: float) -> float:
    """Logarithm of how much better "the way to this callee is slow" fits this percentile than "nothing happened"."""
    odds = (share / (1 - percentile.quantile)) ** SHARPNESS
    moves = odds / (1 + odds)
    fits = moves * percentile.risen + (1 - moves) * (1 - percentile.risen)
    return float(np.log(fits / (1 - percentile.risen)))
