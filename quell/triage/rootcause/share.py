"""Shares: which part of the target's extra seconds (or failed calls) is a node's own.

Three steps, all in the target's unit. *Co-movement*: by how much a node's excess rises when the target's rises, fitted
over the rows of the incident; a baseline that is off by a constant changes nothing. *Own part*: what is left of it when
the callees' co-movement is taken away, so a caller that merely waits keeps nothing. *Growth*: where calls are not
known, the same extra seconds are the larger growth the closer to the cause: callers start from a larger latency.
"""

from dataclasses import dataclass

import numpy as np

from quell.triage.rootcause.calls import Graph
from quell.triage.rootcause.symptom import Symptoms
from quell.triage.rootcause.vocabulary import Kind
from quell.triage.rootcause.window import Floats

RIDGE = 0.5  # how firmly the constant of the fit is held near zero, in rows
LARGEST = 1.5  # of a share: asynchronous calls and counting errors give more than the target has
IMPLAUSIBLE = 3.0
OFF_THE_PATH = 0.7  # what a node keeps that the graph does not connect with the target
QUIET_Z, HALF_Z = 1.5, 1.5
NOTICEABLE = 0.003  # of the time that the busiest node spends: half as much as nothing
BY_SELECTION = 0.65  # the target is looked at because it is in trouble, and collects every error of its callees' shares
LEAST_MOVE = 0.1  # of the target: what moves less is no measure for the growth of others
SMALL_SHARE, LEAST_SHARE = 0.75, 0.05  # without calls, growth counts more than size: shares enter by their 4th root
LEAST_BY_GROWTH = 0.4  # what the smallest growth keeps where the calls are known


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Per node of the symptoms: `whole` with everything below it, `own` without its callees', both of the target's."""

    whole: Floats
    own: Floats


def saturate(x: Floats | float, half: float) -> Floats:
    """0 at and below 0, one half at `half`, towards 1 above."""
    positive = np.maximum(np.asarray(x, float), 0.0)
    return positive / (positive + half)


def split_shares(symptoms: Symptoms, reference: int, graph: Graph, *, is_given: bool = True) -> Shares:
    moves = _moves(symptoms, reference)
    whole = moves * saturate(symptoms.z - QUIET_Z, HALF_Z)
    own = np.clip(whole - _explained(symptoms, whole, graph), 0.0, LARGEST)
    own = own * _closeness(symptoms, reference, graph, moves)
    own[reference] *= BY_SELECTION if is_given else 1.0
    return Shares(whole=whole, own=own)


def _moves(symptoms: Symptoms, reference: int) -> Floats:
    """Slope on the target where both count calls; else only how alike the two series are, because the unit is lost."""
    target = symptoms.excess[:, reference]
    counted = np.isfinite(symptoms.volume)
    if not counted[reference]:
        return likeness(symptoms.excess, target)
    return np.where(counted, co_movement(symptoms.excess, target), likeness(symptoms.excess, target))


def _explained(symptoms: Symptoms, whole: Floats, graph: Graph) -> Floats:
    """What each node's callees account for: their sum in counted calls, else the one that grew most beside its own."""
    places = {node: place for place, node in enumerate(symptoms.nodes)}
    counted = np.isfinite(symptoms.volume)
    below = np.zeros(len(places))
    for node, place in places.items():
        callees = [places[c] for c in graph.callees.get(node, ()) if c in places]
        if not callees:
            continue
        if counted[place] and counted[callees].all():
            below[place] = whole[callees].sum()
        else:
            growths = np.minimum(symptoms.growth[callees] / max(symptoms.growth[place], 1e-9), 1.0)
            below[place] = float((whole[callees] * growths).max())
    return below


def _closeness(symptoms: Symptoms, reference: int, graph: Graph, moves: Floats) -> Floats:
    """Factor for growth and for being on the target's path."""
    moved = (moves > LEAST_MOVE) & (symptoms.z > QUIET_Z + HALF_Z)
    largest = float(symptoms.growth[moved].max(initial=0.0))
    relative = np.minimum(symptoms.growth / largest, 1.0) if largest > 0 else np.ones_like(symptoms.growth)
    target = symptoms.nodes[reference]
    reached = graph.reach(target) | {target} if graph.knows(target) else frozenset(symptoms.nodes)
    factor = np.empty_like(relative)
    for place, node in enumerate(symptoms.nodes):
        if not graph.knows(node):
            factor[place] = relative[place] / max(min(moves[place], 1.0), LEAST_SHARE) ** SMALL_SHARE
        elif node in reached:
            factor[place] = LEAST_BY_GROWTH + (1 - LEAST_BY_GROWTH) * relative[place]
        else:
            factor[place] = OFF_THE_PATH * relative[place]
    return factor


def co_movement(excess: Floats, target: Floats) -> Floats:
    """Slope of each column on the target's column, less its standard error; rows unknown in either are left out.

    With quiet rows of the target in the window this is movement within the window; where all rows are bad, the held
    constant lets it fall back to the ratio of the levels.
    """
    t = target - min(0.0, float(np.nanmin(target))) if np.isfinite(target).any() else target
    known = np.isfinite(excess) & np.isfinite(t)[:, None]
    e = np.where(known, excess, 0.0)
    tt = np.where(known, np.nan_to_num(t)[:, None], 0.0)
    n = known.sum(axis=0)
    st, se, stt, ste = tt.sum(axis=0), e.sum(axis=0), (tt**2).sum(axis=0), (tt * e).sum(axis=0)
    bottom = stt - st**2 / (n + RIDGE)
    slope = np.divide(ste - st * se / (n + RIDGE), bottom, out=np.zeros_like(bottom), where=bottom > 1e-30)
    constant = (se - slope * st) / (n + RIDGE)
    left = np.where(known, e - constant - slope * tt, 0.0)
    error = np.sqrt(
        np.divide((left**2).sum(axis=0) / np.maximum(n - 1, 1), bottom, out=np.zeros_like(bottom), where=bottom > 1e-30)
    )
    sure = np.maximum(slope - error, 0.0)
    return np.asarray(np.where(sure > IMPLAUSIBLE, IMPLAUSIBLE**2 / np.maximum(sure, 1e-9), sure), np.float64)


def likeness(excess: Floats, target: Floats) -> Floats:
    """Cosine of each column with the target's column, at least 0; rows unknown in either are left out."""
    known = np.isfinite(excess) & np.isfinite(target)[:, None]
    e, t = np.where(known, excess, 0.0), np.where(known, np.nan_to_num(target)[:, None], 0.0)
    bottom = np.sqrt((e**2).sum(axis=0) * (t**2).sum(axis=0))
    return np.clip(np.divide((e * t).sum(axis=0), bottom, out=np.zeros_like(bottom), where=bottom > 0), 0.0, 1.0)


def find_reference(symptoms: Symptoms, graph: Graph) -> int | None:
    """Without a target: the troubled node with most excess, among the entries of the graph where it has any."""
    total = np.nansum(symptoms.excess, axis=0) * trouble(symptoms) * weight_in_system(symptoms)
    if not total.size or total.max() <= 0:
        return None
    entries = _entries(symptoms, graph)
    if entries and total[entries].max() > 0:
        return entries[int(np.argmax(total[entries]))]
    return int(np.argmax(total))


def _entries(symptoms: Symptoms, graph: Graph) -> list[int]:
    """Called by nobody, and reaching at least half as far as whoever reaches furthest."""
    tops = [place for place, node in enumerate(symptoms.nodes) if graph.knows(node) and not graph.callers.get(node)]
    reach = {place: len(graph.reach(symptoms.nodes[place])) for place in tops}
    widest = max(reach.values(), default=0)
    return [place for place in tops if reach[place] >= widest / 2]


def trouble(symptoms: Symptoms) -> Floats:
    """0..1 per node: how sure it is that something is wrong there, when many nodes were looked at."""
    if symptoms.kind is Kind.ERRORS:
        return saturate(symptoms.z - 1.0, 1.5)
    return saturate(symptoms.z - 4.0, 3.0)


def alarm(symptoms: Symptoms, reference: int) -> float:
    """0..1: how sure it is that the one node that was said to be in trouble is. One look, so less is asked for."""
    if symptoms.kind is Kind.ERRORS:
        return float(saturate(symptoms.z[reference] - 1.0, 1.5))
    return float(saturate(symptoms.z[reference] - 3.0, 1.0))


def weight_in_system(symptoms: Symptoms) -> Floats:
    """0..1 per node: is its excess worth a word beside the time (or the calls) that the whole system spends?"""
    total: Floats = np.nansum(np.maximum(symptoms.excess, 0.0), axis=0)
    spent = symptoms.volume if symptoms.kind is Kind.ERRORS else symptoms.volume * symptoms.base
    largest = float(np.nanmax(spent)) * symptoms.excess.shape[0] if np.isfinite(spent).any() else 0.0
    return saturate(total, NOTICEABLE * largest) if largest > 0 else np.ones(len(symptoms.nodes))
