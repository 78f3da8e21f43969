"""HAProxy as the lever: isolate a server, shift weight, throttle one client or everybody, shed load, switch backends.

Commands take effect on the next request. Every reply text is a failure, every effect is read back, and every change
and undo is also written to the map file or the server-state file so that a reload keeps it.
`set maxconn frontend` is never used: raising it on a full frontend kills HAProxy 2.6 (haproxy/haproxy#2726).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from quell.adapters.actuators.haproxy_adaptive import Adaptive
from quell.adapters.actuators.haproxy_maps import Shed, Switch, Throttle, ThrottleAll
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.actuators.haproxy_servers import Isolate, Maint, Weight, known_server
from quell.adapters.actuators.haproxy_traffic import read_requests
from quell.config.config import Config
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step
from quell.response.traffic import Requests

State = Mapping[str, str]


class HAProxyActuator:
    """The HAProxy that `connections.haproxy_socket` names.

    `maps` is the folder with `limits.map`, `knobs.map`, `backends.map` and `adaptive.map`; without it the maps are
    changed at runtime only and a reload forgets them. `state_file` is HAProxy's `server-state-file`; the same holds.
    `timeout` bounds one command.
    """

    name = "haproxy"

    def __init__(
        self, *, socket: str, maps: Path | None, state_file: Path | None, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        client = RuntimeClient(socket, timeout)
        self._client = client
        self.adaptive = Adaptive(client, maps)
        self._levers: Mapping[str, Lever] = {
            "isolate": Isolate(client, state_file),
            "maint": Maint(client, state_file),
            "weight": Weight(client, state_file),
            "throttle": Throttle(client, maps),
            "throttle_all": ThrottleAll(client, maps),
            "shed": Shed(client, maps),
            "switch": Switch(client, maps),
            "adaptive": self.adaptive,
        }

    def actions(self) -> Mapping[str, str]:
        return {name: (type(lever).__doc__ or "").splitlines()[0] for name, lever in self._levers.items()}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {name: lever.parameters for name, lever in self._levers.items()}

    def describe(self, step: Step) -> str:
        return self._lever(step).describe(step)

    def describe_undo(self, step: Step) -> str:
        return self._lever(step).describe_undo(step)

    def read_state(self, step: Step) -> State:
        return self._lever(step).read_state(step)

    def apply(self, step: Step) -> None:
        self._lever(step).apply(step)

    def verify(self, step: Step) -> bool:
        return self._lever(step).verify(step)

    def undo(self, step: Step, state_before: State) -> None:
        self._lever(step).undo(step, state_before)

    def verify_undone(self, step: Step, state_before: State) -> bool:
        return self._lever(step).verify_undone(step, state_before)

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
        """server -> share of its full weight that takes new requests now: 0 when drained, in maintenance or down."""
        servers = self._client.servers()
        return {target: known_server(servers, target).serving_share for target in service_targets}

    def requests(self) -> Requests:
        """What the limiter counted until now, by client; no safeguard is needed for it."""
        return read_requests(self._client)

    def witness(self, step: Step) -> str:
        return self._lever(step).witness(step)

    def _lever(self, step: Step) -> "Lever":
        lever = self._levers.get(step.action)
        if lever is None:
            raise InvalidInput(f"haproxy has no action {step.action!r}; it has {', '.join(self._levers)}")
        return lever


def make_haproxy(name: str, settings: Mapping[str, Any], config: Config) -> HAProxyActuator:  # noqa: ARG001
    """The factory behind the entry point; where HAProxy is stands in quell.toml, with the other connections."""
    c = config.connections
    if not c.haproxy_socket:
        raise InvalidInput("haproxy needs connections.haproxy_socket in quell.toml: the path of its runtime socket")
    return HAProxyActuator(socket=c.haproxy_socket, maps=c.haproxy_maps, state_file=c.haproxy_state, timeout=c.timeout)


class Lever(Protocol):
    @property
    def parameters(self) -> tuple[str, ...]: ...
    def describe(self, step: Step) -> str: ...
    def describe_undo(self, step: Step) -> str: ...
    def read_state(self, step: Step) -> State: ...
    def apply(self, step: Step) -> None: ...
    def verify(self, step: Step) -> bool: ...
    def undo(self, step: Step, state_before: State) -> None: ...
    def verify_undone(self, step: Step, state_before: State) -> bool: ...
    def witness(self, step: Step) -> str: ...
