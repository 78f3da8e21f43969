"""HAProxy's adaptive throttle: limits that Quell sets and goes on adjusting, in places of their own."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from quell.adapters.actuators.haproxy_files import read_map, write_map
from quell.adapters.actuators.haproxy_params import whole_number
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.actuators.haproxy_traffic import read_traffic
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step
from quell.response.gradient import Bounds, Caps, Limiter, caps_of, start
from quell.response.traffic import Traffic, read_rates

State = Mapping[str, str]
_KNOBS, _CLIENTS = "knobs.map", "adaptive.map"
_KNOB = "adaptive_rps"  # in knobs.map; while it is there the throttle is in force
_UNLIMITED = 1_000_000
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+\-]{1,64}")  # names that a command to HAProxy can carry
_LOOKS, _LOOK_SECONDS = 3, 0.1


class Adaptive:
    """Limits an overloaded service to what it can do, heaviest clients first, and goes on adjusting until it is over.

    The target is `global`. Params: `backend` (whose time and answers are measured), `latency_ms` (the mean time over
    which it counts as overloaded) and `floor_rps` (never limited below this). The rest get 429. It begins with the rate
    of answers that HAProxy measures while the step is carried out.
    """

    parameters: tuple[str, ...] = ("backend", "latency_ms", "floor_rps")

    def __init__(self, client: RuntimeClient, maps: Path | None) -> None:
        self._client = client
        self._maps = maps

    def describe(self, step: Step) -> str:
        self._check(step)
        bounds = bounds_of(step)
        return (
            f"limit requests to what {step.params['backend']} answers within {bounds.latency_ms:.0f} ms on average, "
            f"heaviest clients first, never below {bounds.floor_rps:.0f} per second, and adjust it until it is over"
        )

    def describe_undo(self, step: Step) -> str:
        return f"take every limit of the adaptive throttle ({step.target}) away"

    def read_state(self, step: Step) -> State:
        """Nothing, or what another adaptive throttle has set."""
        self._check(step)
        knob = self._entries(_KNOBS).get(_KNOB)
        clients = {f"client {name}": limit for name, limit in self._entries(_CLIENTS).items()}
        return {**({} if knob is None else {_KNOB: knob}), **clients}

    def apply(self, step: Step) -> None:
        """One that is in force already stays as it was adjusted."""
        self._check(step)
        if _KNOB not in self._entries(_KNOBS):
            self.adjust(step, caps_of(start_of(step, self._look(step))))

    def verify(self, step: Step) -> bool:
        """Whether it is in force, whatever the limits were adjusted to since."""
        self._check(step)
        in_file = _KNOB in read_map(self._maps / _KNOBS) if self._maps else True
        return in_file and _KNOB in self._entries(_KNOBS)

    def undo(self, step: Step, state_before: State) -> None:
        self._check(step)
        clients = {name.removeprefix("client "): v for name, v in state_before.items() if name.startswith("client ")}
        self._put(_CLIENTS, clients, keep=())
        knob = state_before.get(_KNOB)
        self._put(_KNOBS, {} if knob is None else {_KNOB: knob}, keep=self._others())

    def verify_undone(self, step: Step, state_before: State) -> bool:
        return dict(self.read_state(step)) == dict(state_before)

    def witness(self, step: Step) -> str:
        """A backend that takes longer than the bound now."""
        reading = read_rates(self._look(step))
        bound = bounds_of(step).latency_ms
        if reading is None or reading.latency_ms <= bound:
            return ""
        took = f"{reading.latency_ms:.0f} ms on average"
        return f"HAProxy sees requests to {step.params['backend']} take {took}, the bound is {bound:.0f} ms"

    def traffic(self, step: Step) -> Traffic:
        """What HAProxy counted until now."""
        self._check(step)
        return read_traffic(self._client, str(step.params["backend"]))

    def adjust(self, step: Step, caps: Caps) -> None:  # noqa: ARG002 - the levers' signature
        """Put these limits into force, tight ones before wide ones, and into the files."""
        limits = {name: str(limit) for name, limit in caps.clients.items() if _PLAIN.fullmatch(name)}
        self._put(_CLIENTS, limits, keep=())
        self._put(_KNOBS, {_KNOB: str(caps.everyone or _UNLIMITED)}, keep=self._others())

    def in_force(self, step: Step) -> Caps | None:
        """The limits as HAProxy has them now; None when the throttle is not in force."""
        self._check(step)
        knob = self._entries(_KNOBS).get(_KNOB)
        if knob is None:
            return None
        everyone = int(knob) if int(knob) < _UNLIMITED else None
        return Caps(everyone=everyone, clients={name: int(v) for name, v in self._entries(_CLIENTS).items()})

    def _look(self, step: Step) -> list[Traffic]:
        looks = [self.traffic(step)]
        for _ in range(_LOOKS - 1):
            time.sleep(_LOOK_SECONDS)
            looks.append(self.traffic(step))
        return looks

    def _check(self, step: Step) -> None:
        if step.target != "global":
            raise InvalidInput(f"adaptive target {step.target!r} is not 'global'")
        bounds_of(step)
        if not str(step.params.get("backend", "")):
            raise InvalidInput(f"adaptive of {step.target}: backend is missing, name the backend that is measured")

    def _others(self) -> tuple[str, ...]:
        return tuple(key for key in self._entries(_KNOBS) if key != _KNOB)

    def _put(self, file: str, wanted: Mapping[str, str], *, keep: tuple[str, ...]) -> None:
        """Make the map hold exactly what is wanted, besides the keys to keep; a map that is right is left alone."""
        id, now = self._id(file), self._entries(file)
        for key, value in wanted.items():
            if now.get(key) != value:
                self._client.order("set" if key in now else "add", "map", id, key, value)
        for key in set(now) - set(wanted) - set(keep):
            self._client.order("del", "map", id, key)
        if self._maps is not None and dict(read_map(self._maps / file)) != dict(self._entries(file)):
            write_map(self._maps / file, lambda: self._entries(file))

    def _id(self, file: str) -> str:
        ids = self._client.map_ids()
        if file not in ids:
            known = ", ".join(sorted(ids)) or "no map"
            raise InvalidInput(f"haproxy uses no {file}; it uses {known}: see docs/surge.md for the lines it needs")
        return ids[file]

    def _entries(self, file: str) -> Mapping[str, str]:
        return self._client.map_entries(self._id(file))


def bounds_of(step: Step) -> Bounds:
    """What the step's parameters say. Raises InvalidInput."""
    return Bounds(
        latency_ms=whole_number(step, "latency_ms", 1, 60_000), floor_rps=whole_number(step, "floor_rps", 1, _UNLIMITED)
    )


def start_of(step: Step, looks: list[Traffic]) -> Limiter:
    """Where the limit begins; without any traffic at its floor."""
    bounds = bounds_of(step)
    reading = read_rates(looks)
    return start(reading, bounds) if reading else Limiter(limit=bounds.floor_rps, capacity=bounds.floor_rps)
