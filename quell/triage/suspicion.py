"""Suspicion: what metrics say of the suspects, joined with what the alerts say.

Alerts name who complains, metrics also know who keeps silent. Agreement raises a suspect. A node that no alert names
may come in, marked as such, and takes weight from its callers as it would with an alert of its own. Silence of the
metrics takes nothing away from anybody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quell.incidents.change import Change
from quell.incidents.service import Catalog
from quell.incidents.suspect import CLIENT_PREFIX, Suspect
from quell.triage.rootcause.calls import Edge
from quell.triage.rootcause.ranking import rank_nodes
from quell.triage.rootcause.window import Column
from quell.triage.surroundings import Surroundings
from quell.triage.suspects import ABSTAIN, EXPLAINED_BY_CALLEE, EXPLAINED_BY_CLIENT, SMALLEST

AGREEMENT = 0.5  # what metrics alike add of the rest to 1
UNALERTED = 0.9  # what counts of metrics without an alert
FURTHER = 0.9  # what counts of trouble of another kind than the target's
LIMIT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What one look at the metrics gave. `failure` says why there was none, `alerts` how many there were then."""

    suspects: tuple[Suspect, ...] = ()
    failure: str = ""
    alerts: int = 0
    is_early: bool = False  # there was nothing to see yet: look again soon


def suspect_by_metrics(
    seen: Surroundings, *, calls: Sequence[Edge], target: Column | None, changes: Sequence[Change], catalog: Catalog
) -> tuple[Suspect, ...]:
    """Suspects from metrics, best first. Errors at the target may come from slowness at what it calls.

    So what the target needs is looked at in every kind; what has nothing to do with the target is not.
    """
    targeted = rank_nodes(seen.normal, seen.abnormal, calls=calls, target=target, changes=changes) if target else ()
    found = {suspect.node: suspect for suspect in targeted}
    for suspect in rank_nodes(seen.normal, seen.abnormal, calls=calls, changes=changes):
        if target is None:
            found[suspect.node] = suspect
        elif _is_needed(target[0], suspect.node, catalog):
            weaker = replace(suspect, score=round(suspect.score * FURTHER, 3))
            found[suspect.node] = max(found.get(suspect.node, weaker), weaker, key=lambda s: s.score)
    ranked = sorted(found.values(), key=lambda s: (-s.score, s.node))
    return tuple(_in_signals(suspect, seen.signals) for suspect in ranked)


def merge_suspects(alerted: Sequence[Suspect], measured: Sequence[Suspect], catalog: Catalog) -> tuple[Suspect, ...]:
    """One ranking, best first; the alerts' own where the metrics name nobody."""
    if not measured:
        return tuple(alerted)
    seen = {suspect.node: suspect for suspect in _beside_clients(alerted, measured)}
    named = {suspect.node for suspect in alerted}
    merged = [_weighed(suspect, seen, named, catalog) for suspect in alerted]
    merged += [_unalerted(suspect) for node, suspect in seen.items() if node not in named]
    place = {suspect.node: place for place, suspect in enumerate(alerted)}
    ranked = sorted(merged, key=lambda s: (-s.score, place.get(s.node, len(place)), s.node))
    if not ranked or ranked[0].score < ABSTAIN:
        return tuple(alerted)
    return tuple(suspect for suspect in ranked[:LIMIT] if suspect.score >= SMALLEST)


def tell_difference(before: Sequence[Suspect], after: Sequence[Suspect]) -> str:
    """What the metrics changed, in words; empty where nothing that a person would notice."""
    if not after or [(s.node, s.change) for s in before] == [(s.node, s.change) for s in after]:
        return ""
    first = after[0]
    known = {suspect.node for suspect in before}
    if not before or before[0].node != first.node:
        was = f" instead of {before[0].node}" if before else ""
        return f"metrics put {first.node} first{was}: {first.reason}"
    new = next((suspect for suspect in after if suspect.node not in known), None)
    if new is not None:
        return f"first suspect stays {first.node}; metrics bring in {new.node}: {new.reason}"
    return f"first suspect stays {first.node}: {first.reason}"


def _beside_clients(alerted: Iterable[Suspect], measured: Iterable[Suspect]) -> list[Suspect]:
    """A client that floods the services explains what their metrics show."""
    loudest = max((s.score for s in alerted if s.node.startswith(CLIENT_PREFIX)), default=0.0)
    return [replace(s, score=s.score * (1 - EXPLAINED_BY_CLIENT * loudest)) for s in measured]


def _weighed(suspect: Suspect, seen: Mapping[str, Suspect], named: set[str], catalog: Catalog) -> Suspect:
    score, reasons = suspect.score, [suspect.reason]
    own = seen.get(suspect.node)
    if own is not None:
        score = 1 - (1 - score) * (1 - AGREEMENT * own.score)
        reasons.append(f"its metrics agree: {own.reason}")
    deeper = [s for node, s in seen.items() if node not in named and _is_needed(suspect.node, node, catalog)]
    cause = max(deeper, key=lambda s: (s.score, s.node), default=None)
    if cause is not None and cause.score > (own.score if own else 0.0):
        score *= 1 - EXPLAINED_BY_CALLEE * cause.score
        reasons.append(f"{cause.node}, which it needs, may explain it by its metrics")
        if suspect.change is not None:
            score = max(score, min(suspect.score, ABSTAIN))
    change = suspect.change or (own.change if own else None)
    return replace(suspect, score=round(score, 3), reason="; ".join(reasons), change=change)


def _unalerted(suspect: Suspect) -> Suspect:
    words = f"no alert names it, its metrics do: {suspect.reason}"
    return replace(suspect, score=round(suspect.score * UNALERTED, 3), reason=words, is_alerted=False)


def _is_needed(node: str, other: str, catalog: Catalog) -> bool:
    """Whether the node calls the other, directly or not, or is the service of this instance."""
    if node == other or node.startswith(CLIENT_PREFIX):
        return False
    mine, theirs = (_service(name, catalog) for name in (node, other))
    return theirs in catalog.dependencies(mine) or (mine == theirs and node == mine)


def _service(node: str, catalog: Catalog) -> str:
    instance = catalog.instance(node)
    return instance.service if instance else node


def _in_signals(suspect: Suspect, signals: Mapping[str, str]) -> Suspect:
    """In the words of the configuration: a metric's name is a signal's."""
    name = signals.get(suspect.metric, suspect.metric)
    return replace(suspect, metric=name, reason=suspect.reason.replace(suspect.metric, name))
