"""The canary at work: a little real traffic on the mended instance, counted at the load balancer, and the way back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.fix import Fix
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import MitigationState, Step
from quell.ports import Actuator
from quell.resolution.canary import CanaryPolicy, CanaryResult, CanaryVerdict, Sample, canary_weight, judge_canary
from tasks.automation import automation_enabled
from tasks.lease import Hold
from tasks.resources import Resources

# HAProxy's own exporter: what each server answered, by class of status
RESPONSES = "haproxy_server_http_responses_total"
_ERROR_CODE = "5xx"
_ANSWER_CODES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_POLL_SECONDS = 1.0
_READY = "ready"

Counts = Mapping[tuple[str, str], float]  # (server, code) -> answers since HAProxy started


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The canary's server at the load balancer, and its siblings in the same backend."""

    server: str  # backend/server
    peers: tuple[str, ...]
    peer_weights: tuple[int, ...]
    weight: int  # the server's full weight
    actuator: Actuator

    @property
    def backend(self) -> str:
        return self.server.partition("/")[0]

    @property
    def isolate(self) -> Step:
        return Step(actuator=self.actuator.name, action="isolate", target=self.server)


def lane_of(res: Resources, fix: Fix) -> Lane | None:
    """Where the canary would run; None when the instance is not behind a load balancer with a serving sibling."""
    instance = res.config.catalog.instance(fix.instance) if fix.instance else None
    service = res.config.catalog.service(fix.service)
    actuator = res.actuators.get("haproxy")
    if instance is None or instance.server is None or service is None or actuator is None:
        return None
    backend = instance.server.partition("/")[0]
    siblings = [i for i in service.instances if i.server and i.name != instance.name]
    known = {i.server: i.weight for i in siblings if i.server and i.server.partition("/")[0] == backend}
    serving = actuator.capacity(list(known))
    peers = [server for server in known if serving.get(server, 0) > 0]
    if not peers:
        return None
    return Lane(
        server=instance.server,
        peers=tuple(peers),
        peer_weights=tuple(known[server] for server in peers),
        weight=instance.weight,
        actuator=actuator,
    )


def run_canary(
    res: Resources,
    fix: Fix,
    lane: Lane,
    lease: Hold,
    policy: CanaryPolicy,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> CanaryResult:
    """Give the instance its share of traffic and judge it until there is a verdict or the deadline has passed.

    The intent and the state before are in the journal before the weight is changed. Missing metrics are no evidence:
    they end inconclusive.
    """
    open_lane(res, fix, lane, lease, policy)
    start = res.clock()
    result: CanaryResult | None = None
    first: Counts | None = None
    while (elapsed := res.clock() - start) <= policy.deadline:
        with res.store.writing() as tx:
            lease.renew(tx, res.clock())
            if not automation_enabled(tx):
                return _inconclusive(result, "automation was switched off")
        counts = _count(res, lane)
        if counts is not None and first is None:
            first = counts
        elif counts is not None and first is not None:
            result = judge_canary(*_samples(lane, first, counts), policy)
            is_over = elapsed >= policy.window and result.verdict is CanaryVerdict.PROMOTE
            if is_over or result.verdict is CanaryVerdict.REVERT:
                return result
        sleep(_POLL_SECONDS)
    limit = policy.deadline.total_seconds()
    return _inconclusive(result, f"no verdict within {limit:g} s" + (f": {result.reason}" if result else ""))


def open_lane(res: Resources, fix: Fix, lane: Lane, lease: Hold, policy: CanaryPolicy) -> None:
    """Journal, then weight, then ready: the server never serves more than its share."""
    weight = canary_weight(lane.peer_weights, policy.traffic_share)
    step = Step(actuator=lane.actuator.name, action="weight", target=lane.server, params={"weight": weight})
    entry = JournalEntry(
        id=f"{fix.id}/canary",
        mitigation=fix.id,
        position=1,
        step=step,
        state_before=lane.actuator.read_state(step),
        state=JournalState.INTENDED,
        holder=lease.holder,
        intended_at=res.clock(),
    )
    with res.store.writing() as tx:
        lease.renew(tx, res.clock())
        known = tx.journal.get(entry.id)
        if known is None or known.state is not JournalState.INTENDED:  # a rerun keeps the true state before
            tx.journal.put(entry)
    lane.actuator.apply(step)
    lane.actuator.undo(lane.isolate, {"admin_state": _READY, "weight": str(weight)})
    if not lane.actuator.verify_undone(lane.isolate, {"admin_state": _READY, "weight": str(weight)}):
        raise Unavailable(f"canary: {lane.server} did not become ready with weight {weight}")


def close_lane(res: Resources, fix: Fix) -> bool:
    """Put the server back as it was before the canary (drained, where it was contained); whether there was anything."""
    entry = _entry(res, fix)
    if entry is None or entry.state is not JournalState.INTENDED:  # undone, or promoted: the lane is no more
        return False
    actuator = _actuator(res, entry.step.actuator)
    wanted = {**entry.state_before, **({"admin_state": _READY} if _is_released(res, fix, entry) else {})}
    actuator.undo(entry.step, wanted)
    if not actuator.verify_undone(entry.step, wanted):
        raise Unavailable(f"canary: {entry.step.target} could not be put back to {wanted}")
    _settle(res, entry, JournalState.UNDONE)
    return True


def _is_released(res: Resources, fix: Fix, entry: JournalEntry) -> bool:
    """Whether the containment was undone since the canary began: then nothing would release a drain any more."""
    with res.store.reading() as tx:
        contained = tx.mitigations.find({"incident": fix.incident, "state": MitigationState.UNDONE})
    target = entry.step.target
    return any(
        m.updated_at >= entry.intended_at and any(step.target == target for step in m.plan.steps) for m in contained
    )


def widen_lane(res: Resources, fix: Fix) -> None:
    """Give the promoted instance its full weight, whether or not a containment's release has done so."""
    entry = _entry(res, fix)
    if entry is None or entry.state is not JournalState.INTENDED:
        return
    actuator = _actuator(res, entry.step.actuator)
    wanted = {"admin_state": _READY, "weight": entry.state_before["weight"]}
    if not actuator.verify_undone(entry.step, wanted):
        actuator.undo(entry.step, wanted)
    if not actuator.verify_undone(entry.step, wanted):
        raise Unavailable(f"{entry.step.target} could not be given its full weight {wanted['weight']}")
    _settle(res, entry, JournalState.DONE)


def _entry(res: Resources, fix: Fix) -> JournalEntry | None:
    with res.store.reading() as tx:
        return tx.journal.get(f"{fix.id}/canary")


def _settle(res: Resources, entry: JournalEntry, state: JournalState) -> None:
    with res.store.writing() as tx:
        tx.journal.put(replace(entry, state=state, finished_at=res.clock()))


def _actuator(res: Resources, name: str) -> Actuator:
    if name not in res.actuators:
        raise InvalidInput(f"actuator {name} is not configured any more; it is needed to put things back")
    return res.actuators[name]


def _count(res: Resources, lane: Lane) -> Counts | None:
    """The counters of the backend's servers; None when they cannot be read now."""
    try:
        matrix = res.metrics.instant(f'{RESPONSES}{{proxy="{lane.backend}"}}')
    except QuellError:
        return None
    if not len(matrix.timestamps):
        return None
    counts: dict[tuple[str, str], float] = {}
    for labels, value in zip(matrix.labels, matrix.values[-1], strict=True):
        if np.isfinite(value):
            counts[f"{lane.backend}/{labels.get('server', '')}", labels.get("code", "")] = float(value)
    return counts or None


def _samples(lane: Lane, first: Counts, last: Counts) -> tuple[Sample, Sample]:
    canary, control = _sample((lane.server,), first, last), _sample(lane.peers, first, last)
    return canary, control


def _sample(servers: tuple[str, ...], first: Counts, last: Counts) -> Sample:
    def grown(server: str, code: str) -> int:
        before, now = first.get((server, code), 0.0), last.get((server, code), 0.0)
        return round(now - before if now >= before else now)  # a counter that fell was reset

    total = sum(grown(server, code) for server in servers for code in _ANSWER_CODES)
    return Sample(requests=total, errors=sum(grown(server, _ERROR_CODE) for server in servers))


def no_verdict(reason: str) -> CanaryResult:
    """Inconclusive, before anything could be counted."""
    nothing = Sample(requests=0, errors=0)
    return CanaryResult(verdict=CanaryVerdict.INCONCLUSIVE, reason=reason, canary=nothing, control=nothing)


def _inconclusive(result: CanaryResult | None, reason: str) -> CanaryResult:
    return replace(result, verdict=CanaryVerdict.INCONCLUSIVE, reason=reason) if result else no_verdict(reason)
