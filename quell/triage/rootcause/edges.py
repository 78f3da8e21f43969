"""Call edges: the same call measured where it starts and where it ends.

A node whose name is a pair of measured nodes (`web_cart`, `web->cart`) is a call. If the caller waits longer and the
callee does not take longer, the way between them is slow: the network. If both rise, the callee itself is slow.
"""

from dataclasses import dataclass

import numpy as np

from quell.triage.rootcause.calls import Names
from quell.triage.rootcause.share import saturate
from quell.triage.rootcause.shift import measure_shifts
from quell.triage.rootcause.symptom import quantile_weights
from quell.triage.rootcause.vocabulary import Kind, Side
from quell.triage.rootcause.window import Floats, Observation


@dataclass(frozen=True, kw_only=True)
class Call:
    node: str  # as measured
    callers: tuple[str, ...]
    callees: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What one call says about its callee: `strength` 0..1, and how much of the wait is the way."""

    call: Call
    callee: str
    metric: str
    strength: float
    way_share: float
    before: float
    now: float


def find_calls(nodes: tuple[str, ...], components: frozenset[str] = frozenset()) -> tuple[Call, ...]:
    """Nodes that are calls; `components` use resources of their own, so they are none whatever their name."""
    names = Names.of(nodes)
    splits = ((node, names.split_call(node)) for node in nodes if node not in components)
    return tuple(Call(node=node, callers=pair[0], callees=pair[1]) for node, pair in splits if pair)


def weigh_ways(seen: Observation, calls: tuple[Call, ...]) -> tuple[Way, ...]:
    """Calls whose caller waits longer than before, each with the share of it that the callee did not see."""
    found: list[Way] = []
    for call in calls:
        waits = _side(seen, call.node, Side.WAITS)
        answers = _side(seen, call.node, Side.ANSWERS)
        outer = waits or answers
        if outer is None:
            continue
        shift = measure_shifts(outer[0][:, None], outer[1][:, None], [Kind.LATENCY])
        z, ratio = float(shift.z[0]), float(shift.ratio[0])
        strength = float(saturate(z - 2.5, 4.0) * saturate(ratio, 0.8))
        if strength <= 0:
            continue
        way = _way_share(waits, answers)
        found += [
            Way(
                call=call, callee=callee, metric=outer[2], strength=strength, way_share=way,
                before=float(shift.base[0]), now=float(shift.now[0]),
            )
            for callee in call.callees
        ]  # fmt: skip
    return tuple(found)


_Series = tuple[Floats, Floats, str]


def _way_share(waits: _Series | None, answers: _Series | None) -> float:
    if waits is None or answers is None:
        return 0.0
    rise = float(np.nanmean(waits[1]) - np.nanmedian(waits[0]))
    inside = float(np.nan_to_num(np.nanmean(answers[1])) - np.nan_to_num(np.nanmedian(answers[0])))
    return float(np.clip((rise - inside) / rise, 0.0, 1.0)) if rise > 0 else 0.0


def _side(seen: Observation, node: str, side: Side) -> _Series | None:
    places = [
        p for p in seen.columns_of[node] if seen.meanings[p].kind is Kind.LATENCY and seen.meanings[p].side is side
    ]
    if not places:
        return None
    places.sort(key=lambda p: seen.meanings[p].quantile or 0.5)
    weights = quantile_weights([seen.meanings[p].quantile or 0.5 for p in places])
    now = seen.abnormal[:, places] @ weights
    if not np.isfinite(now).any():
        return None
    return seen.normal[:, places] @ weights, now, seen.columns[places[-1]][1]
