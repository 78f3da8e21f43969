"""Ranking: all evidence against each node, added up, best first; nobody when nothing stands out."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from quell.incidents.change import Change
from quell.incidents.suspect import Suspect
from quell.triage.rootcause import reason
from quell.triage.rootcause.calls import Edge, Graph, Names, build_graph
from quell.triage.rootcause.edges import Call, find_calls, weigh_ways
from quell.triage.rootcause.load import beyond_load, measure_load
from quell.triage.rootcause.local import find_clues
from quell.triage.rootcause.share import alarm, find_reference, saturate, split_shares, trouble, weight_in_system
from quell.triage.rootcause.shift import Shifts, measure_shifts
from quell.triage.rootcause.symptom import Symptoms, read_errors, read_latency
from quell.triage.rootcause.vocabulary import Kind, read_metric
from quell.triage.rootcause.window import Column, Observation, Window, observe

ABSTAIN = 0.22  # below it the best suspect is nobody's


@dataclass(kw_only=True)
class _Case:
    """Evidence gathered against one node."""

    score: float = 0.0
    parts: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])  # weight, metric, words

    def add(self, weight: float, metric: str, words: str) -> None:
        if weight > 0:
            self.score += weight
            self.parts.append((weight, metric, words))


def rank_nodes(
    normal: Window,
    abnormal: Window,
    *,
    calls: Iterable[Edge] = (),
    target: Column | None = None,
    changes: Sequence[Change] = (),
    limit: int = 20,
) -> tuple[Suspect, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _rank(observe(normal, abnormal), tuple(calls), target, changes, limit)


def _rank(seen, edges, target, changes, limit):
    ways_of = find_calls(seen.nodes)
    edge_nodes = {c.node for c in ways_of}
    graph = build_graph([*edges, *((a, b) for c in ways_of for a in c.callers for b in c.callees)],
                        [n for n in seen.nodes if n not in edge_nodes])
    shifts = measure_shifts(seen.normal, seen.abnormal, [m.kind for m in seen.meanings])
    cases = {}
    def case(n): return cases.setdefault(n, _Case())
    families=[read_latency(seen), read_errors(seen)]
    tnode=None; tkind=None
    if target is not None:
        found=Names.of(seen.nodes).find(target[0]); tnode=found[0] if found else None
        k=read_metric(target[1]).kind; tkind={Kind.LATENCY:Kind.LATENCY,Kind.SUCCESS:Kind.ERRORS,Kind.ERRORS:Kind.ERRORS}.get(k)
    load=measure_load(seen,shifts)
    for fam in families:
        if not fam.nodes: continue
        if tkind is not None and fam.kind is not tkind: continue
        ref = fam.place(tnode) if tnode else None
        given = ref is not None
        if ref is None: ref=find_reference(fam,graph)
        if ref is None: continue
        gate=_gate(fam,ref,given)*beyond_load(fam,load,graph)
        sh=split_shares(fam,ref,graph)
        for i,n in enumerate(fam.nodes):
            if n in edge_nodes: continue
            case(n).add(min(sh.own[i],1.0)*gate[i], fam.metrics[i], reason.of_symptom(fam,i,ref,sh))
    for n,clue in find_clues(seen,shifts,load).items():
        if n in edge_nodes: continue
        case(n).add(clue.strength, seen.columns[clue.column][1], reason.of_clue(seen,shifts,clue))
    for w in _best_ways(weigh_ways(seen,ways_of),seen):
        case(w[0]).add(w[1],w[2],w[3])
    ranked=sorted(cases.items(), key=lambda p:(-p[1].score,p[0]))
    if not ranked or ranked[0][1].score<ABSTAIN: return ()
    out=[]
    for n,c in ranked[:limit]:
        if c.score<0.02: continue
        ps=sorted(c.parts,reverse=True)
        out.append(Suspect(node=n,metric=ps[0][1],score=round(float(1-np.exp(-1.5*c.score)),3),reason='; '.join(p[2] for p in ps[:3])))
    return tuple(out)

def _gate(fam,ref,given):
    """How sure it is that this is trouble: the reference's, or the node's own, whichever shows it more."""
    if fam.kind is Kind.ERRORS:
        return trouble(fam) if given else trouble(fam)*weight_in_system(fam)
    if given: return np.maximum(alarm(fam,ref), trouble(fam))
    return np.full(len(fam.nodes), float(trouble(fam)[ref]*weight_in_system(fam)[ref]))

def _best_ways(ways,seen):
    vol={}
    for i,m in enumerate(seen.meanings):
        if m.kind is Kind.REQUESTS: vol.setdefault(seen.columns[i][0], float(np.nanmean(seen.abnormal[:,i])))
    per={}
    for w in ways: per.setdefault(w.callee,[]).append(w)
    for callee,ws in per.items():
        wt=[max(vol.get(c,1.0) for c in w.call.callers) for w in ws]
        total=sum(a*w.strength*w.way_share for a,w in zip(wt,ws))/max(sum(wt),1e-9)
        b=max(ws,key=lambda w:w.strength*w.way_share)
        yield callee,total,b.metric,f"{b.call.node} waits {b.now:.3g} instead of {b.before:.3g}"
