"""The lane of a service in two colours: so many of a thousand requests go to the idle one, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

from quell.actuator import Actuator
from quell.incidents.errors import Unavailable
from quell.incidents.fix import Fix
from quell.incidents.mitigation import HOLDING_STATES, Step
from quell.incidents.service import BlueGreen, Service
from quell.resolution.rollout import RolloutStep, plan_split
from tasks.colours import balancer_of, live_colour, two_colours_of
from tasks.lane_journal import BACKEND_RESPONSES, SPLIT, intend
from tasks.lease import Hold
from tasks.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourLane:
    """The idle colour is the canary, and the one that serves is its control.

    They are counted as backends, so that a request for which a colour had no server left counts as failed too. At half
    of the traffic both have the same load; below that the canary has less to do, as an instance beside few siblings.
    """

    service: Service
    colours: BlueGreen
    colour: str  # the backend that has the fix
    live: str
    is_control_bad: bool  # whether the colour that serves runs what the fix mends
    actuator: Actuator

    @property
    def servers(self) -> tuple[str, ...]:
        return self._behind(self.colour)

    @property
    def control(self) -> tuple[str, ...]:
        return self._behind(self.live)

    @property
    def counted(self) -> tuple[str, ...]:
        return (self.colour,)

    @property
    def counted_beside(self) -> tuple[str, ...]:
        return (self.live,)

    @property
    def metric(self) -> str:
        return BACKEND_RESPONSES

    @property
    def backends(self) -> tuple[str, ...]:
        return (self.colour, self.live)

    def steps(self, shares: Sequence[float]) -> tuple[RolloutStep, ...]:
        """Weights are of a thousand. All of the traffic is no step: nothing would be left to compare with."""
        return plan_split(shares)

    def open(self, res: Resources, fix: Fix, lease: Hold, step: RolloutStep, weight: int) -> None:
        """Journal, then the split. Raises Unavailable."""
        intend(res, fix, lease, SPLIT, self.actuator, self._effect(step.weight))
        self.weigh(weight)
        if not self.actuator.verify(self._effect(weight)):
            raise Unavailable(f"canary: {weight} of 1000 requests to {self.colour} did not come into force")

    def weigh(self, weight: int) -> None:
        self.actuator.apply(self._effect(weight))

    def _behind(self, backend: str) -> tuple[str, ...]:
        return tuple(i.server for i in self.service.behind(backend) if i.server)

    def _effect(self, per_mille: int) -> Step:
        return split_to(self.actuator, self.colours, self.colour, per_mille)


def split_to(actuator: Actuator, colours: BlueGreen, backend: str, per_mille: int) -> Step:
    params = {"backend": backend, "per_mille": per_mille}
    return Step(actuator=actuator.name, action="split", target=f"route:{colours.route}", params=params)


def colour_lane_of(res: Resources, fix: Fix) -> ColourLane | None:
    """Where the canary would run; None when the colour that serves has the fix already, or no server left.

    Raises QuellError where the load balancer does not answer, or has no map for the split.
    """
    service, colours = two_colours_of(res, fix.service)
    lane = ColourLane(
        service=service,
        colours=colours,
        colour=fix.colour,
        live=live_colour(res, colours),
        is_control_bad=not _is_switched(res, fix, colours),
        actuator=balancer_of(res),
    )
    if lane.live == fix.colour or not any(lane.actuator.capacity(lane.control).values()):
        return None
    return lane


def _is_switched(res: Resources, fix: Fix, colours: BlueGreen) -> bool:
    """Whether the incident is contained by a switch to the other colour, which runs the release before."""
    with res.store.reading() as tx:
        found = tx.mitigations.find({"incident": fix.incident, "state": tuple(HOLDING_STATES)})
    route = f"route:{colours.route}"
    return any(step.action == "switch" and step.target == route for one in found for step in one.plan.steps)
