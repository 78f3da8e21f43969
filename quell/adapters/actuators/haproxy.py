"""HAProxy as the lever: isolate a server, shift weight, throttle one client or everybody, shed load, switch backends.

Commands take effect on the next request. Every reply text is a failure, every effect is read back, and every change
and undo is also written to the map file or the server-state file so that a reload keeps it.
`set maxconn frontend` is never used: raising it on a full frontend kills HAProxy 2.6 (haproxy/haproxy#2726).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from quell.adapters.actuators.haproxy_adaptive import Adaptive
from quell.adapters.actuators.haproxy_log import read_log
from quell.adapters.actuators.haproxy_maps import Shed, Split, Switch, Throttle, ThrottleAll
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.adapters.actuators.haproxy_servers import Isolate, Maint, ServerLever, Weight, known_server
from quell.adapters.actuators.haproxy_standing import StandingMap
from quell.adapters.actuators.haproxy_traffic import read_requests
from quell.config.config import Config
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step
from quell.incidents.served import ServedRequest
from quell.response.traffic import Requests

State = Mapping[str, str]


class HAProxyActuator:
    """The HAProxy that `connections.haproxy_socket` names.

    `maps` is the folder with `limits.map`, `knobs.map`, `backends.map`, `splits.map`, `adaptive.map` and
    `standing.map`; without it the maps are changed at runtime only and a reload forgets them. `state_file` is HAProxy's
    `server-state-file`; the same holds. `timeout` bounds one command.
    """

    name = "haproxy"

    def __init__(
        self, *, socket: str, maps: Path | None, state_file: Path | None, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        self._client = RuntimeClient(socket, timeout)
        self.adaptive = Adaptive(self._client, maps)
        self.standing = StandingMap(self._client, maps)
        self._levers: Mapping[str, tuple[Callable[[RuntimeClient, Path | None], Lever], Path | None]] = {
            "isolate": (Isolate, state_file),
            "maint": (Maint, state_file),
            "weight": (Weight, state_file),
            "throttle": (Throttle, maps),
            "throttle_all": (ThrottleAll, maps),
            "shed": (Shed, maps),
            "switch": (Switch, maps),
            "split": (Split, maps),
            "adaptive": (Adaptive, maps),
        }

    def actions(self) -> Mapping[str, str]:
        return {name: (lever.__doc__ or "").splitlines()[0] for name, (lever, _) in self._levers.items()}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {name: lever(self._client, None).parameters for name, (lever, _) in self._levers.items()}

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

    def served(self, log: str) -> Sequence[ServedRequest]:
        return read_log(self._client, log)

    def counted(self, names: Sequence[str]) -> Mapping[str, int]:
        return self._client.answers(names)

    def running(self, names: Sequence[str]) -> Mapping[str, int]:
        return self._client.running(names)

    def witness(self, step: Step) -> str:
        return self._lever(step).witness(step)

    def can_ease(self, step: Step) -> bool:
        return isinstance(self._lever(step), ServerLever)

    def ease(self, step: Step, state_before: State, share: float) -> None:
        self._server_lever(step).ease(step, state_before, share)

    def answered(self, step: Step) -> tuple[int, int]:
        return self._server_lever(step).answered(step)

    def _server_lever(self, step: Step) -> ServerLever:
        lever = self._lever(step)
        if not isinstance(lever, ServerLever):
            raise InvalidInput(f"{step.action} of {step.target} comes back at once, only servers a little at a time")
        return lever

    def _lever(self, step: Step) -> "Lever":
        """The lever for one call, whose commands all together may take as long as the step's timeout."""
        if step.action not in self._levers:
            raise InvalidInput(f"haproxy has no action {step.action!r}; it has {', '.join(self._levers)}")
        lever, file = self._levers[step.action]
        return lever(self._client.within(step.timeout), file)


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
