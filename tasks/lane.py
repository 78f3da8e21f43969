"""A canary's lane at the load balancer: its share of the traffic, its control, and the way back for both."""

from collections.abc import Sequence
from dataclasses import dataclass

from quell.actuator import Actuator
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.fix import Fix
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.mitigation import Step
from quell.resolution.rollout import RolloutStep, plan_steps
from tasks.colour_lane import ColourLane, colour_lane_of
from tasks.lane_journal import CANARY, CONTROL, RESPONSES, SPLIT, as_before, entries_of, fully, intend, put_back
from tasks.lease import Hold
from tasks.pilot import retire_pilot
from tasks.resources import Resources

_READY = "ready"
_PEERS_LEFT = 2  # at their full weight beside a control of the canary's size; fewer could not carry the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLane:
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
    is_control_bad: bool = False  # whether the siblings run what the fix mends, all of them: then this is a pilot

    @property
    def servers(self) -> tuple[str, ...]:
        return (self.server,)

    @property
    def counted(self) -> tuple[str, ...]:
        return self.servers

    @property
    def counted_beside(self) -> tuple[str, ...]:
        return self.peers

    @property
    def metric(self) -> str:
        return RESPONSES

    @property
    def backends(self) -> tuple[str, ...]:
        return (self.server.partition("/")[0],)

    @property
    def is_paired(self) -> bool:
        return len(self.peers) > _PEERS_LEFT

    @property
    def control(self) -> tuple[str, ...]:
        return self.peers[-1:] if self.is_paired else self.peers

    def steps(self, shares: Sequence[float]) -> tuple[RolloutStep, ...]:
        return plan_steps(shares, self.weight, self.peer_weights, paired=self.is_paired)

    def open(self, res: Resources, fix: Fix, lease: Hold, step: RolloutStep, weight: int) -> None:
        """Journal, then the control's weight, then the canary's, then ready: it never serves more than its share."""
        intend(res, fix, lease, CANARY, self.actuator, self._effect(self.server, step.weight))
        if self.is_paired:
            intend(res, fix, lease, CONTROL, self.actuator, self._effect(self.control[0], self._beside(step.weight)))
        self.weigh(weight)
        wanted = {"admin_state": _READY, "weight": str(weight)}
        isolate = Step(actuator=self.actuator.name, action="isolate", target=self.server)
        self.actuator.undo(isolate, wanted)
        if not self.actuator.verify_undone(isolate, wanted):
            raise Unavailable(f"canary: {self.server} did not become ready with weight {weight}")

    def weigh(self, weight: int) -> None:
        """No more than the step's weight, whose intent is in the journal: for the control, and for the canary."""
        if self.is_paired:
            self.actuator.apply(self._effect(self.control[0], self._beside(weight)))
        self.actuator.apply(self._effect(self.server, weight))

    def _beside(self, weight: int) -> int:
        return min(weight, self.peer_weights[-1])

    def _effect(self, server: str, weight: int) -> Step:
        return Step(actuator=self.actuator.name, action="weight", target=server, params={"weight": weight})


Lane = ServerLane | ColourLane


def lane_of(res: Resources, fix: Fix) -> Lane | None:
    """Where the canary would run; None when nothing beside it serves that it could be compared with.

    Raises QuellError where the load balancer does not answer, or is not configured for what two colours need.
    """
    return colour_lane_of(res, fix) if fix.colour else _server_lane_of(res, fix)


def _server_lane_of(res: Resources, fix: Fix) -> ServerLane | None:
    name = fix.instance or fix.pilot
    instance = res.config.catalog.instance(name) if name else None
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
    return ServerLane(
        server=instance.server,
        peers=tuple(peers),
        peer_weights=tuple(known[server] for server in peers),
        weight=instance.weight,
        actuator=actuator,
        is_control_bad=fix.has_followers,
    )


def close_lane(res: Resources, fix: Fix) -> bool:
    """Put everything back as it was before (drained, where contained); whether there was anything.

    The canary first; a pilot gets no requests from now on, and is put back when it has followed git. Each is tried even
    where the other failed. Raises Unavailable.
    """
    # undone, or promoted: the lane is no more
    entries = [entry for entry in entries_of(res, fix) if entry.state is JournalState.INTENDED]
    problems: list[str] = []
    changed = False
    for entry in entries:
        try:
            changed |= _close(res, fix, entry)
        except QuellError as error:
            problems.append(str(error))
    if problems:
        raise Unavailable("; ".join(problems))
    return changed


def after_canary(fix: Fix) -> str:
    """How the load balancer is left by `close_lane`, in words."""
    if fix.pilot:
        return f"{fix.pilot} gets no requests until git and what it runs have followed"
    return "the load balancer is as it was before the canary"


def _close(res: Resources, fix: Fix, entry: JournalEntry) -> bool:
    if not entry.id.endswith(CANARY):
        put_back(res, entry, entry.state_before)
    elif fix.pilot:
        return retire_pilot(res, entry)
    else:
        put_back(res, entry, as_before(res, fix, entry))
    return True


def widen_lane(res: Resources, fix: Fix) -> None:
    """Give the promoted instance its full weight, whether or not a containment's release has done so."""
    for entry in entries_of(res, fix, CANARY, CONTROL, SPLIT):
        if entry.state is JournalState.INTENDED:
            wanted = fully(res, fix, entry) if entry.id.endswith(CANARY) else entry.state_before
            put_back(res, entry, wanted, JournalState.DONE)
