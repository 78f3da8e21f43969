"""Load: how much more (or less) each node was asked to do, and what that explains.

Requests say it where they are counted. Where they are not, a processor, a network and a queue that all grow on most
nodes at once say it as well: faults are local, load is everywhere. Load explains resources up to its own growth, and
slowness as far as most loaded nodes show it too (queueing makes some several times slower than the typical one).
"""

from dataclasses import dataclass

import numpy as np

from quell.triage.rootcause.calls import Graph
from quell.triage.rootcause.shift import Shifts
from quell.triage.rootcause.symptom import Symptoms
from quell.triage.rootcause.vocabulary import Kind
from quell.triage.rootcause.window import Floats, Observation

LEAST_Z = 2.0
LEAST_SURGE = 0.15  # logarithm: 16 % more requests are no surge
QUEUEING = 3.0  # times the typical slowdown that load alone may bring to a busier node


@dataclass(frozen=True, kw_only=True)
class Load:
    """Logarithms of now by before: per node where requests are counted, and typical of all nodes."""

    of_node: dict[str, float]
    typical: float

    def at(self, node: str) -> float:
        return self.of_node.get(node, self.typical)


def measure_load(seen: Observation, shifts: Shifts) -> Load:
    counted: dict[str, float] = {}
    hints: dict[str, list[float]] = {}
    for place, meaning in enumerate(seen.meanings):
        node = seen.columns[place][0]
        ratio = float(shifts.ratio[place]) if abs(shifts.z[place]) >= LEAST_Z else 0.0
        if meaning.kind is Kind.REQUESTS:
            counted.setdefault(node, ratio)
        elif meaning.kind in (Kind.CPU, Kind.NETWORK):
            hints.setdefault(node, []).append(ratio)
    known = list(counted.values()) or [float(np.median(ratios)) for ratios in hints.values()]
    return Load(of_node=counted, typical=float(np.median(known)) if len(known) >= 3 else 0.0)


def beyond_load(symptoms: Symptoms, load: Load, graph: Graph) -> Floats:
    """0..1 per node: the part of its growth that a surge of requests does not explain; 1 without a surge."""
    surged = np.array([load.at(node) > LEAST_SURGE for node in symptoms.nodes], bool)
    factor = np.ones(len(symptoms.nodes))
    if surged.sum() < 3:
        return factor
    for place in np.flatnonzero(surged & (symptoms.growth > 0)):
        node = symptoms.nodes[place]
        above = graph.above(node)
        others = [p for p in np.flatnonzero(surged) if p != place and symptoms.nodes[p] not in above]
        typical = float(np.median(symptoms.growth[others])) if others else 0.0
        factor[place] = max(symptoms.growth[place] - QUEUEING * typical, 0.0) / symptoms.growth[place]
    return factor
