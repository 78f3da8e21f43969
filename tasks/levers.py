"""Levers: the actuators that this process has, by name, and what serves by their word."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from quell.actuator import Actuator
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.service import Service
from tasks.resources import Resources


def live_capacity(res: Resources, service: Service, actuators: Sequence[str]) -> Mapping[str, float]:
    """server -> share of its full weight that serves now, asked of the actuators that a plan uses.

    Where none of them serves anybody (a hook, a silence), the others are asked, and one that is away is no obstacle.
    """
    servers = [i.server for i in service.instances if i.server]
    live: dict[str, float] = {}
    for name in dict.fromkeys(actuators):
        live.update(get_actuator(res, name).capacity(servers))
    if not live:
        for actuator in res.actuators.values():
            with suppress(Unavailable):
                live.update(actuator.capacity(servers))
    return live


def get_actuator(res: Resources, name: str) -> Actuator:
    actuator = res.actuators.get(name)
    if actuator is None:
        known = ", ".join(res.actuators) or "none"
        raise InvalidInput(
            f"actuator {name!r} is not connected; connected are {known}: see quell.toml and actuators.yaml"
        )
    return actuator
