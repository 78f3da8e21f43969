"""Suspects: which component is the likely cause, from what the alerts measure, who calls whom, and what changed.

The ranking in one paragraph: every node that an alert names starts with the strength of its largest effect. What a
callee explains is taken from its callers, what single instances explain is taken from their service, what a noisy
client explains is taken from everybody else. Whoever showed trouble first keeps its weight; later ones lose a little.
A recent change on a node raises it. Below `ABSTAIN` nobody is named: a wrong suspect costs more than none.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from quell.incidents.change import Change
from quell.incidents.service import Catalog
from quell.incidents.signal import SignalKind
from quell.incidents.suspect import CLIENT_PREFIX, Suspect
from quell.triage.effect import Effect

# Figures chosen by reasoning, not fitted; the scenario tests hold the order they are meant to give.
ABSTAIN = 0.2
SMALLEST = 0.1
EXPLAINED_BY_CALLEE = 0.7
EXPLAINED_BY_INSTANCE = 0.6
EXPLAINED_BY_CLIENT = 0.6
SEEN_IN_TRAFFIC = 0.5  # how far a service's own traffic bears out the client that is said to send too much
WHOLE_SERVICE = 0.5  # what an instance keeps when all of its several peers show the same
FURTHER_EVIDENCE = 0.15  # what a second effect of another kind, or on another instance, adds of the rest to 1
LATE_LOSS, LATE_AFTER = 0.15, timedelta(minutes=1)
CHANGE_GAIN, CHANGE_FADES = 0.5, timedelta(minutes=15)
CHANGE_OF_SERVICE_ON_INSTANCE = 0.5
ACCUSED_BY_SERVICE = 0.5  # a changed instance of a troubled service, without an alert of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """One node while it is being weighed; `base` is its evidence before anything is explained away."""

    node: str
    service: str
    main: Effect
    kinds: frozenset[SignalKind]
    base: float
    score: float
    first_at: datetime
    reasons: tuple[str, ...] = field(default=())
    change: str | None = None

    @property
    def is_client(self) -> bool:
        return self.node.startswith(CLIENT_PREFIX)

    @property
    def is_service(self) -> bool:
        return self.node == self.service

    def scaled(self, factor: float, reason: str = "") -> "_Standing":
        return replace(self, score=self.score * factor, reasons=(*self.reasons, reason) if reason else self.reasons)


_Board = dict[str, _Standing]


def rank_suspects(
    effects: Sequence[Effect], changes: Iterable[Change], catalog: Catalog, *, limit: int = 5
) -> tuple[Suspect, ...]:
    """Suspects, best first; empty when nothing stands out. The order of the inputs does not matter."""
    linked = sorted(changes, key=lambda change: (change.at, change.id), reverse=True)
    board = _accuse_changed_instances(_stand_up(effects), linked, catalog)
    if not board:
        return ()
    board = _weigh_clients(_bear_out_clients(board, effects))
    board = _weigh_instances(board, catalog)
    board = _weigh_callers(board, catalog)
    board = _weigh_onsets(board)
    board = _weigh_changes(board, linked)
    ranked = sorted(board.values(), key=lambda s: (-s.score, s.first_at, s.is_service, s.node))
    if ranked[0].score < ABSTAIN:
        return ()
    return tuple(_suspect(standing) for standing in ranked[:limit] if standing.score >= SMALLEST)


def _suspect(standing: _Standing) -> Suspect:
    return Suspect(
        node=standing.node,
        metric=standing.main.metric,
        score=round(min(standing.score, 1.0), 3),
        reason="; ".join(standing.reasons),
        change=standing.change,
    )


def _stand_up(effects: Sequence[Effect]) -> _Board:
    """One standing per node: its largest effect, and a little more for each further kind of effect."""
    by_node: dict[str, list[Effect]] = {}
    for effect in effects:
        by_node.setdefault(effect.node, []).append(effect)
    board: _Board = {}
    for node, found in sorted(by_node.items()):
        main = max(found, key=lambda e: (e.strength, e.value is not None, e.metric))
        further = len({effect.kind for effect in found}) - 1
        base = 1 - (1 - main.strength) * (1 - FURTHER_EVIDENCE) ** further
        board[node] = _Standing(
            node=node,
            service=main.service,
            main=main,
            kinds=frozenset(effect.kind for effect in found),
            base=base,
            score=base,
            first_at=min(effect.at for effect in found),
            reasons=(main.words,),
        )
    return board


def _accuse_changed_instances(board: _Board, changes: Sequence[Change], catalog: Catalog) -> _Board:
    """An instance that was changed is looked at even if only its service complains."""
    result = dict(board)
    for change in changes:
        name = change.instance
        service = board.get(change.service)
        if name is None or name in result or service is None or catalog.instance(name) is None:
            continue
        if any(s.service == change.service and not s.is_service and not s.is_client for s in board.values()):
            continue  # single instances stand out already, and this one is not among them
        base = service.base * ACCUSED_BY_SERVICE
        reason = f"the only recently changed instance of {change.service}, where {service.main.words}"
        result[name] = replace(service, node=name, base=base, score=base, reasons=(reason,))
    return result


def _bear_out_clients(board: _Board, effects: Sequence[Effect]) -> _Board:
    """Two instruments see a flood: who counts by client, and the traffic of the service that the client calls."""
    surges = [
        e for e in effects if e.kind is SignalKind.TRAFFIC and _is_surge(e) and not e.node.startswith(CLIENT_PREFIX)
    ]
    floods = {effect.service: effect for effect in sorted(surges, key=lambda e: (e.strength, e.node))}
    result = dict(board)
    for node, standing in board.items():
        flood = floods.get(standing.service)
        if standing.is_client and _is_surge(standing.main) and flood is not None:
            base = 1 - (1 - standing.base) * (1 - SEEN_IN_TRAFFIC * flood.strength)
            reasons = (*standing.reasons, f"the traffic of {flood.node} bears it out: {flood.words}")
            result[node] = replace(standing, base=base, score=base, reasons=reasons)
    return result


def _weigh_clients(board: _Board) -> _Board:
    """A client that sends far more than expected explains trouble of the services behind it."""
    loudest = max((s.base for s in board.values() if s.is_client and _is_surge(s.main)), default=0.0)
    if not loudest:
        return board
    return {
        node: s if s.is_client else s.scaled(1 - EXPLAINED_BY_CLIENT * loudest, "a noisy client may explain it")
        for node, s in board.items()
    }


def _is_surge(effect: Effect) -> bool:
    return effect.value is None or effect.expected is None or effect.value > effect.expected


def _weigh_instances(board: _Board, catalog: Catalog) -> _Board:
    """Few of several instances in trouble: it is them. All of them: it is the service, or what it calls."""
    result = dict(board)
    for name, service in catalog.services.items():
        alarmed = [s for s in board.values() if s.service == name and not s.is_service and not s.is_client]
        if not alarmed:
            continue
        peers = [i.name for i in service.instances]
        for standing in alarmed:
            if standing.main.node != standing.node:
                continue  # accused by its change, not by an alert of its own
            if quiet := _quiet_peers(standing, peers, board):
                nothing = "nothing of the kind" if any(peer in board for peer in quiet) else "nothing"
                stands_out = f"it stands out: {_list(quiet)} {'shows' if len(quiet) == 1 else 'show'} {nothing}"
                result[standing.node] = standing.scaled(1.0, stands_out)
            elif len(peers) > 1:
                result[standing.node] = standing.scaled(WHOLE_SERVICE, f"all {len(peers)} instances show it")
        worst = max(alarmed, key=lambda s: s.base)
        quiet = _quiet_peers(worst, peers, board)
        if name in board and quiet:
            factor = 1 - EXPLAINED_BY_INSTANCE * worst.base
            result[name] = result[name].scaled(factor, f"its instance {worst.node} explains most of it")
        elif name not in board and len(peers) > 1 and not quiet:
            words = f"{worst.main.words} on all {len(peers)} instances"
            base = 1 - (1 - worst.base) * (1 - FURTHER_EVIDENCE) ** (len(alarmed) - 1)
            result[name] = replace(worst, node=name, base=base, score=base, reasons=(words,))
    return result


def _quiet_peers(standing: _Standing, peers: Sequence[str], board: _Board) -> list[str]:
    """Instances without this kind of trouble: a slow sibling does not share the errors of a failing one."""
    return [peer for peer in peers if peer not in board or standing.main.kind not in board[peer].kinds]


def _weigh_callers(board: _Board, catalog: Catalog) -> _Board:
    """Trouble travels from callee to caller, so a troubled callee takes weight from everybody who needs it."""
    worst: dict[str, _Standing] = {}
    for standing in board.values():
        if standing.is_client or not _travels(standing.main):
            continue
        if standing.service not in worst or standing.base > worst[standing.service].base:
            worst[standing.service] = standing
    result: _Board = {}
    for node, standing in board.items():
        below = [worst[name] for name in catalog.dependencies(standing.service) if name in worst]
        if standing.is_client or not below:
            result[node] = standing
            continue
        callee = max(below, key=lambda s: (s.base, s.node))
        factor = 1 - EXPLAINED_BY_CALLEE * min(1.0, callee.base)
        result[node] = standing.scaled(factor, f"it calls {callee.service}, whose {callee.node} may explain it")
    return _praise_callees(result, worst, catalog)


def _praise_callees(board: _Board, worst: Mapping[str, _Standing], catalog: Catalog) -> _Board:
    result = dict(board)
    for name, standing in worst.items():
        callers = sorted(catalog.dependents(name) & {s.service for s in board.values() if not s.is_client})
        if callers:
            result[standing.node] = result[standing.node].scaled(1.0, f"it explains {_list(callers)}, which needs it")
    return result


def _travels(effect: Effect) -> bool:
    """Errors and slowness reach the caller; a change of traffic comes from the caller."""
    return effect.kind is not SignalKind.TRAFFIC


def _weigh_onsets(board: _Board) -> _Board:
    first = min(s.first_at for s in board.values())
    result: _Board = {}
    for node, standing in board.items():
        late = min(1.0, (standing.first_at - first) / LATE_AFTER)
        result[node] = standing.scaled(1 - LATE_LOSS * late)
    return result


def _weigh_changes(board: _Board, changes: Sequence[Change]) -> _Board:
    """The most recent change on a node closes part of the gap to certainty, less the older it is."""
    result: _Board = {}
    for node, standing in board.items():
        gains = [(_gain(change, standing), change) for change in changes]
        gain, change = max(gains, key=lambda pair: (pair[0], pair[1].at, pair[1].id), default=(0.0, None))
        if change is None or gain <= 0 or standing.is_client:
            result[node] = standing
            continue
        reason = describe_change(change, standing.first_at)
        score = standing.score + (1 - standing.score) * gain * min(1.0, standing.score / ABSTAIN / 2)
        result[node] = replace(standing, score=score, reasons=(*standing.reasons, reason), change=change.id)
    return result


def _gain(change: Change, standing: _Standing) -> float:
    age = max((standing.first_at - change.at).total_seconds(), 0.0)
    recency = CHANGE_GAIN * math.exp(-age / CHANGE_FADES.total_seconds())
    if change.instance:
        return recency if change.instance == standing.node else 0.0
    if change.service != standing.service:
        return 0.0
    return recency if standing.is_service else recency * CHANGE_OF_SERVICE_ON_INSTANCE


def describe_change(change: Change, onset_at: datetime) -> str:
    """One change beside an onset: "configuration change abc1234 90 s before onset: ..."."""
    kind = {"config": "configuration change", "flag": "flag change", "deploy": "deploy"}.get(change.kind, "change")
    name = change.commit[:7] if change.commit else change.id
    seconds = (onset_at - change.at).total_seconds()
    when = f"{_ago(abs(seconds))} {'before' if seconds >= 0 else 'after'} onset"
    return f"{kind} {name} {when}: {change.summary}"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def _list(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(names) if len(names) < 3 else f"{names[0]}, {names[1]} and {names[2]}"
