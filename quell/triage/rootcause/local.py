"""Local evidence: a node's own resources left their normal band, beyond what its traffic explains.

cpu, memory, disk and network belong to one node and do not travel along calls. What does explain them is load: the
expected value is anywhere between before and before times the growth of requests, and only what lies outside counts. A
series that several nodes share word for word is their host's, and accuses each of them little.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from quell.triage.rootcause.load import Load
from quell.triage.rootcause.share import saturate
from quell.triage.rootcause.shift import Shifts
from quell.triage.rootcause.vocabulary import Kind
from quell.triage.rootcause.window import Floats, Observation

# By how direct each family is: a busy processor is a fault's own trace, a change of traffic comes from the caller.
WEIGHTS = {
    Kind.CPU: 1.0, Kind.MEMORY: 0.8, Kind.DISK: 0.6, Kind.SATURATION: 0.4, Kind.NETWORK: 0.4, Kind.OTHER: 0.3,
    Kind.REQUESTS: 0.25,
}  # fmt: skip
FALLING = 0.3  # less of a resource used is mostly an effect: whoever waits works less
SHARED = 0.15
LEAST_Z, HALF_Z = 4.0, 4.0
LEAST_RATIO, HALF_RATIO = 0.26, 0.4  # logarithms: 1.3 times, and 1.5 times


@dataclass(frozen=True, kw_only=True)
class Clue:
    """The strongest local evidence of one node."""

    column: int
    strength: float


def find_clues(seen: Observation, shifts: Shifts, load: Load) -> dict[str, Clue]:
    strengths = _strengths(seen, shifts, load)
    found: dict[str, Clue] = {}
    for node, places in seen.columns_of.items():
        best = max(places, key=lambda place: strengths[place])
        if strengths[best] > 0:
            found[node] = Clue(column=best, strength=float(strengths[best]))
    return found


def _strengths(seen: Observation, shifts: Shifts, load: Load) -> Floats:
    kinds = [meaning.kind for meaning in seen.meanings]
    weights = np.array([WEIGHTS.get(kind, 0.0) for kind in kinds])
    asked = np.array([0.0 if kind is Kind.REQUESTS else load.at(node)
                     for kind, (node, _) in zip(kinds, seen.columns, strict=True)])  # fmt: skip
    size = np.abs(shifts.ratio)
    same_way = np.sign(shifts.ratio) == np.sign(asked)
    beyond = np.where(same_way, np.maximum(size - np.abs(asked), 0.0), size)
    left = np.divide(beyond, size, out=np.zeros_like(size), where=size > 0)
    z = np.abs(shifts.z) * left
    weights = np.where(shifts.ratio < 0, weights * FALLING, weights)
    strong = weights * saturate(z - 2.0, HALF_Z) * saturate(beyond, HALF_RATIO)
    strong = np.where((z >= LEAST_Z) & (beyond >= LEAST_RATIO), strong, 0.0)
    return strong * _alone(seen) * _own(seen)


def _own(seen: Observation) -> Floats:
    """1, or little for a host's metric beside the node's own of the same kind."""
    own = {(node, m.kind) for (node, _), m in zip(seen.columns, seen.meanings, strict=True) if not m.is_of_host}
    return np.array([SHARED if m.is_of_host and (node, m.kind) in own else 1.0
                     for (node, _), m in zip(seen.columns, seen.meanings, strict=True)])  # fmt: skip


def _alone(seen: Observation) -> Floats:
    """1, or little for a column whose values several nodes have in common."""
    prints = [seen.abnormal[:, place].tobytes() for place in range(len(seen.columns))]
    varies = np.nanmax(seen.abnormal, axis=0) > np.nanmin(seen.abnormal, axis=0) if prints else np.zeros(0, bool)
    nodes: dict[bytes, set[str]] = {}
    for print_, (node, _) in zip(prints, seen.columns, strict=True):
        nodes.setdefault(print_, set()).add(node)
    owners = Counter({print_: len(found) for print_, found in nodes.items()})
    return np.array([SHARED if varies[i] and owners[print_] > 1 else 1.0 for i, print_ in enumerate(prints)])
