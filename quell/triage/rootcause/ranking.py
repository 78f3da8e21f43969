"""Ranking: all evidence against each node, added up, best first; nobody when nothing stands out."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from quell.incidents.change import Change
from quell.incidents.suspect import Suspect
from quell.triage.rootcause import reason
from quell.triage.rootcause.calls import Edge, Graph, Names, build_graph
from quell.triage.rootcause.edges import Call, Way, find_calls, weigh_ways
from quell.triage.rootcause.load import Load, beyond_load, measure_load
from quell.triage.rootcause.local import find_clues
from quell.triage.rootcause.share import alarm, find_reference, saturate, split_shares, trouble, weight_in_system
from quell.triage.rootcause.shift import Shifts, measure_shifts
from quell.triage.rootcause.symptom import Symptoms, read_errors, read_latency
from quell.triage.rootcause.twins import find_twins, merge_twins
from quell.triage.rootcause.vocabulary import Kind, read_metric
from quell.triage.rootcause.waits import Wait, weigh_waits
from quell.triage.rootcause.window import Column, Floats, Observation, Window, observe

ABSTAIN = 0.22  # below it the best suspect is nobody's
SMALLEST = 0.02
SURENESS = 1.5  # score = 1 - exp(-SURENESS * evidence): evidence of 1 is 0.78
CHANGED = 1.25  # a recently changed node that has evidence against it anyway
WAITS_FOR_OTHERS = 0.6  # what a caller loses when it is known to wait on the way to a callee
SHOWN_REASONS = 3

_FAMILY = {Kind.LATENCY: Kind.LATENCY, Kind.SUCCESS: Kind.ERRORS, Kind.ERRORS: Kind.ERRORS}


@dataclass(kw_only=True)
class _Case:
    """Evidence gathered against one node."""

    score: float = 0.0
    parts: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])  # weight, metric, words

    def add(self, weight: float, metric: str, words: str) -> None:
        if weight > 0:
            self.score += weight
            self.parts.append((weight, metric, words))


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """Everything that the kinds of evidence share."""

    seen: Observation
    shifts: Shifts
    calls: tuple[Call, ...]
    graph: Graph
    load: Load
    target: str | None
    family: Kind | None  # of the target
    latency: Symptoms
    errors: Symptoms

    @property
    def components(self) -> tuple[str, ...]:
        edges = {call.node for call in self.calls}
        return tuple(node for node in self.seen.nodes if node not in edges)


def rank_nodes(
    normal: Window,
    abnormal: Window,
    *,
    calls: Iterable[Edge] = (),
    target: Column | None = None,
    changes: Sequence[Change] = (),
    limit: int = 20,
) -> tuple[Suspect, ...]:
    """Suspects, best first; empty when nothing stands out.

    `calls` are (caller, callee), possibly incomplete and in other names than the metrics'; `target` is the (node,
    metric) whose objective is violated, if known; `changes` are those made shortly before.
    """
    twins = find_twins(normal, target)
    if target is not None:
        target = twins.get(target[0], target[0]), target[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, which is what is meant
        seen = observe(merge_twins(normal, twins), merge_twins(abnormal, twins))
        cases = _gather(_set_scene(seen, tuple(calls), target)) if seen.columns else {}
    suspects = _weigh_changes(cases, changes, Names.of(seen.nodes))
    ranked = sorted(suspects.items(), key=lambda pair: (-pair[1][0].score, pair[0]))
    if not ranked or ranked[0][1][0].score < ABSTAIN:
        return ()
    return tuple(_suspect(node, case, change) for node, (case, change) in ranked[:limit] if case.score >= SMALLEST)


def _suspect(node: str, case: _Case, change: Change | None) -> Suspect:
    parts = sorted(case.parts, reverse=True)
    words = [part[2] for part in parts[:SHOWN_REASONS]]
    if change is not None:
        words.append(f"changed shortly before: {change.summary}")
    return Suspect(
        node=node,
        metric=parts[0][1],
        score=round(float(-np.expm1(-SURENESS * case.score)), 3),
        reason="; ".join(words),
        change=change.id if change else None,
    )


def _set_scene(seen: Observation, edges: tuple[Edge, ...], target: Column | None) -> _Scene:
    calls = find_calls(seen.nodes, _using_resources(seen))
    measured = [(caller, callee) for call in calls for caller in call.callers for callee in call.callees]
    apart = {call.node for call in calls}
    shifts = measure_shifts(seen.normal, seen.abnormal, [meaning.kind for meaning in seen.meanings])
    found = Names.of(seen.nodes).find(target[0]) if target else ()
    return _Scene(
        seen=seen,
        shifts=shifts,
        calls=calls,
        graph=build_graph([*edges, *measured], [node for node in seen.nodes if node not in apart]),
        load=measure_load(seen, shifts),
        target=found[0] if found else None,
        family=_FAMILY.get(read_metric(target[1]).kind) if target else None,
        latency=read_latency(seen),
        errors=read_errors(seen),
    )


def _using_resources(seen: Observation) -> frozenset[str]:
    pairs = zip(seen.columns, seen.meanings, strict=True)
    return frozenset(node for (node, _), meaning in pairs if meaning.kind in (Kind.CPU, Kind.MEMORY, Kind.DISK))


def _gather(scene: _Scene) -> dict[str, _Case]:
    cases = {node: _Case() for node in scene.components}
    waits = () if scene.calls else _find_waits(scene)
    for symptoms in (scene.latency, scene.errors):
        if symptoms.nodes and scene.family in (None, symptoms.kind):
            _accuse_by_symptoms(cases, scene, symptoms, waits)
    for node, clue in find_clues(scene.seen, scene.shifts, scene.load).items():
        if node in cases:
            metric, kind = scene.seen.columns[clue.column][1], scene.seen.meanings[clue.column].kind
            before, now = float(scene.shifts.base[clue.column]), float(scene.shifts.now[clue.column])
            cases[node].add(clue.strength, metric, reason.of_clue(metric, kind, before, now, scene.load.at(node)))
    _accuse_by_ways(cases, scene)
    for wait in waits:
        metric = scene.seen.columns[wait.column][1]
        before, now = float(scene.shifts.base[wait.column]), float(scene.shifts.now[wait.column])
        cases[wait.callee].add(wait.strength, metric, reason.of_wait(wait.caller, metric, before, now))
    return cases


def _accuse_by_symptoms(cases: dict[str, _Case], scene: _Scene, symptoms: Symptoms, waits: tuple[Wait, ...]) -> None:
    given = symptoms.place(scene.target) if scene.target else None
    reference = given if given is not None else find_reference(symptoms, scene.graph)
    if reference is None:
        return
    gate = _gate(symptoms, reference, is_given=given is not None) * beyond_load(symptoms, scene.load, scene.graph)
    shares = split_shares(symptoms, reference, scene.graph, is_given=given is not None)
    waiting: dict[str, float] = {}
    for wait in waits:
        waiting[wait.caller] = max(waiting.get(wait.caller, 0.0), wait.strength)
    for place, node in enumerate(symptoms.nodes):
        if node in cases:
            left = 1 - WAITS_FOR_OTHERS * min(waiting.get(node, 0.0), 1.0)
            weight = min(float(shares.own[place]), 1.0) * float(gate[place]) * left
            words = reason.of_symptom(symptoms, place, reference, shares)
            cases[node].add(weight, symptoms.metrics[place], words)


def _gate(symptoms: Symptoms, reference: int, *, is_given: bool) -> Floats:
    """How sure it is that this is trouble: the target's own, or the node's, whichever shows it more.

    Four failed calls in five hundred are invisible at the target and decisive at a callee that never failed before.
    """
    own = trouble(symptoms)
    if symptoms.kind is Kind.ERRORS:
        return own if is_given else own * weight_in_system(symptoms)
    if is_given:
        return np.maximum(alarm(symptoms, reference), own)
    return np.full(len(symptoms.nodes), own[reference] * weight_in_system(symptoms)[reference])


def _find_waits(scene: _Scene) -> tuple[Wait, ...]:
    latency = scene.latency
    volume = {node: float(v) for node, v in zip(latency.nodes, latency.volume, strict=True) if np.isfinite(v)}
    sure = saturate(latency.z - 2.5, 2.0) * saturate(latency.growth, 0.3)
    slow = {node: float(s) for node, s in zip(latency.nodes, sure, strict=True)}
    return weigh_waits(scene.seen, scene.shifts, scene.graph, volume, slow)


def _accuse_by_ways(cases: dict[str, _Case], scene: _Scene) -> None:
    """Per callee, its callers' ways weighted by the callers' volume."""
    latency = scene.latency
    volume = {node: float(v) for node, v in zip(latency.nodes, latency.volume, strict=True) if np.isfinite(v)}
    of_callee: dict[str, list[Way]] = {}
    for way in weigh_ways(scene.seen, scene.calls):
        of_callee.setdefault(way.callee, []).append(way)
    for callee, ways in of_callee.items():
        weights = [max(volume.get(caller, 1.0) for caller in way.call.callers) for way in ways]
        total = sum(w * way.strength * way.way_share for w, way in zip(weights, ways, strict=True))
        loudest = max(ways, key=lambda way: way.strength * way.way_share)
        words = reason.of_way(loudest.call.node, loudest.before, loudest.now, loudest.way_share)
        cases[callee].add(total / max(sum(weights), 1e-9), loudest.metric, words)


def _weigh_changes(
    cases: dict[str, _Case], changes: Sequence[Change], names: Names
) -> dict[str, tuple[_Case, Change | None]]:
    changed: dict[str, Change] = {}
    for change in sorted(changes, key=lambda change: (change.at, change.id)):
        for node in names.find(change.instance or change.service):
            changed[node] = change
    result: dict[str, tuple[_Case, Change | None]] = {}
    for node, case in cases.items():
        if not case.parts:
            continue
        if node in changed:
            case.score *= CHANGED
        result[node] = case, changed.get(node)
    return result
