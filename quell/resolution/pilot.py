"""The pilot: the instance that gets a fix before the others, where all instances of a service read one file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from quell.incidents.service import Instance, Service

_ROUNDING = 1e-9  # weights are whole numbers: less than a billionth is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotChoice:
    """`pilot` is empty where none can be tried, and `reason` says why then."""

    pilot: str
    reason: str


def choose_pilot(service: Service, live: Mapping[str, float], drained: Collection[str], *, floor: float) -> PilotChoice:
    """One that is out of the traffic already where there is one, else the last that serves.

    `live` is server -> share of its full weight that serves now (missing: none), `drained` are the servers that were
    taken out to contain the incident. Beside the pilot a sibling of its backend must serve, and at no moment, neither
    while the pilot is out nor while each of the others is in its turn, may less than `floor` (0..1) of the capacity be
    left.
    """
    readers = [one for one in service.readers if one.server]
    out = [one for one in readers if one.server in drained and not _serves(one, live)]
    serving = [one for one in readers if _serves(one, live)]
    problems: list[str] = []
    for one in (*reversed(out), *reversed(serving)):
        found = next(_problems(service, one, serving, live, floor), "")
        if not found:
            why = "it is out of the traffic already" if one in out else "it is the last that serves"
            left = least_left(service, one, serving, live)
            return PilotChoice(pilot=one.name, reason=f"{why}, at least {left:.0%} of {service.name} goes on serving")
        problems.append(found)
    return PilotChoice(pilot="", reason="; ".join(problems) or f"no instance of {service.name} serves")


def can_step_aside(service: Service, one: Instance, live: Mapping[str, float], *, floor: float) -> bool:
    """Whether an instance that serves may be out of the traffic while its own file is put into force.

    `live` and `floor` are as in `choose_pilot`; a sibling of its backend must go on serving.
    """
    beside = (other for other in service.instances if other.name != one.name and _serves(other, live))
    is_spared = any(_backend(other) == _backend(one) for other in beside)
    return _serves(one, live) and is_spared and least_left(service, one, (), live) >= floor - _ROUNDING


def least_left(service: Service, pilot: Instance, serving: Sequence[Instance], live: Mapping[str, float]) -> float:
    """The smallest share (0..1) of the capacity that is left while the fix goes from the pilot to the others."""
    servers = [one for one in service.instances if one.server]
    now = {one.name: one.weight * live.get(one.server or "", 0.0) for one in servers}
    later = {**now, pilot.name: max(float(pilot.weight), now[pilot.name])}
    lefts = [sum(now.values()) - now[pilot.name]]
    lefts += [sum(later.values()) - later[one.name] for one in serving if one.name != pilot.name]
    full = sum(one.weight for one in servers)
    return min(lefts) / full if full else 0.0


def _problems(
    service: Service, one: Instance, serving: Sequence[Instance], live: Mapping[str, float], floor: float
) -> Iterator[str]:
    backend = _backend(one)
    if not any(other.name != one.name and _backend(other) == backend for other in serving):
        yield f"nothing beside {one.name} serves in {backend}, to compare it with"
    if (left := least_left(service, one, serving, live)) < floor - _ROUNDING:
        yield f"with {one.name} first {left:.0%} of {service.name} would be left, floor {floor:.0%}"


def _serves(one: Instance, live: Mapping[str, float]) -> bool:
    return live.get(one.server or "", 0.0) > 0


def _backend(one: Instance) -> str:
    return (one.server or "").partition("/")[0]
