"""A canary's lane at the load balancer: its share of the traffic, its control, and the way back for both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quell.actuator import Actuator
from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.fix import Fix
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import MitigationState, Step
from quell.resolution.rollout import RolloutStep
from tasks.lease import Hold
from tasks.resources import Resources

_READY = "ready"
_PEERS_LEFT = 2  # at their full weight beside a control of the canary's size; fewer could not carry the rest
_PARTS = ("canary", "control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The canary's server at the load balancer, and its siblings in the same backend.

    The control is what serves at the same time from the same queue of requests, so that time of day, customers and
    dependencies are the same. Errors are compared with all siblings. Latencies and saturation depend on the load: where
    three siblings serve, the last of them gets the canary's weight at each step and is their control, since a server
    under a tenth of the load of another is faster by that alone. With fewer siblings that would load the others too
    much, and all of them at their own weight are the control; the canary then has less to do than they, and a small
    slowdown can hide behind that until the step at full weight. A fresh instance would be better than either (its
    caches are as cold as the canary's), but a load balancer cannot start one; the warm-up of each step is not counted
    instead.
    """

    server: str  # backend/server
    peers: tuple[str, ...]
    peer_weights: tuple[int, ...]
    weight: int  # the server's full weight
    actuator: Actuator

    @property
    def backend(self) -> str:
        return self.server.partition("/")[0]

    @property
    def is_paired(self) -> bool:
        return len(self.peers) > _PEERS_LEFT

    @property
    def control(self) -> tuple[str, ...]:
        return self.peers[-1:] if self.is_paired else self.peers


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


def open_lane(res: Resources, fix: Fix, lane: Lane, lease: Hold, step: RolloutStep) -> None:
    """Journal, then the control's weight, then the canary's, then ready: it never serves more than its share."""
    canary = _intend(res, fix, lane, lease, step, lane.server, "canary")
    if lane.is_paired:
        control = min(step.weight, lane.peer_weights[-1])
        lane.actuator.apply(_intend(res, fix, lane, lease, replace(step, weight=control), lane.control[0], "control"))
    lane.actuator.apply(canary)
    wanted = {"admin_state": _READY, "weight": str(step.weight)}
    isolate = Step(actuator=lane.actuator.name, action="isolate", target=lane.server)
    lane.actuator.undo(isolate, wanted)
    if not lane.actuator.verify_undone(isolate, wanted):
        raise Unavailable(f"canary: {lane.server} did not become ready with weight {step.weight}")


def close_lane(res: Resources, fix: Fix) -> bool:
    """Put canary and control back as they were before (drained, where contained); whether there was anything.

    The canary first. Each is tried even where the other failed. Raises Unavailable.
    """
    # undone, or promoted: the lane is no more
    entries = [entry for entry in _entries(res, fix) if entry.state is JournalState.INTENDED]
    problems: list[str] = []
    for entry in entries:
        is_released = entry.id.endswith(_PARTS[0]) and _is_released(res, fix, entry)
        wanted = {**entry.state_before, **({"admin_state": _READY} if is_released else {})}
        try:
            _put_back(res, entry, wanted)
        except QuellError as error:
            problems.append(str(error))
    if problems:
        raise Unavailable("; ".join(problems))
    return bool(entries)


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
    for entry in _entries(res, fix):
        if entry.state is JournalState.INTENDED:
            is_canary = entry.id.endswith(_PARTS[0])
            wanted = {**entry.state_before, "admin_state": _READY} if is_canary else entry.state_before
            _put_back(res, entry, wanted, JournalState.DONE)


def _intend(res: Resources, fix: Fix, lane: Lane, lease: Hold, step: RolloutStep, server: str, part: str) -> Step:
    """The effect, with its intent and the state before in the journal; a later step keeps the true state before."""
    effect = Step(actuator=lane.actuator.name, action="weight", target=server, params={"weight": step.weight})
    entry = JournalEntry(
        id=f"{fix.id}/{part}",
        mitigation=fix.id,
        position=1 + _PARTS.index(part),
        step=effect,
        state_before=lane.actuator.read_state(effect),
        state=JournalState.INTENDED,
        holder=lease.holder,
        intended_at=res.clock(),
    )
    with res.store.writing() as tx:
        lease.renew(tx, res.clock())
        known = tx.journal.get(entry.id)
        if known is None or known.state is not JournalState.INTENDED:
            tx.journal.put(entry)
    return effect


def _put_back(
    res: Resources, entry: JournalEntry, wanted: Mapping[str, str], state: JournalState = JournalState.UNDONE
) -> None:
    actuator = _actuator(res, entry.step.actuator)
    if state is JournalState.UNDONE or not actuator.verify_undone(entry.step, wanted):
        actuator.undo(entry.step, wanted)
    if not actuator.verify_undone(entry.step, wanted):
        raise Unavailable(f"canary: {entry.step.target} could not be put back to {dict(wanted)}")
    with res.store.writing() as tx:
        tx.journal.put(replace(entry, state=state, finished_at=res.clock()))


def _entries(res: Resources, fix: Fix) -> list[JournalEntry]:
    with res.store.reading() as tx:
        found = [tx.journal.get(f"{fix.id}/{part}") for part in _PARTS]
    return [entry for entry in found if entry is not None]


def _actuator(res: Resources, name: str) -> Actuator:
    if name not in res.actuators:
        raise InvalidInput(f"actuator {name} is not configured any more; it is needed to put things back")
    return res.actuators[name]
