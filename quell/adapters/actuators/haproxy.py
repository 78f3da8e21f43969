"""HAProxy as the lever: isolate a server, shift weight, throttle one client or everybody, shed load, switch backends.

Commands take effect on the next request. Every reply text is a failure, every effect is read back, and every change
and undo is also written to the map file or the server-state file so that a reload keeps it.
`set maxconn frontend` is never used: raising it on a full frontend kills HAProxy 2.6 (haproxy/haproxy#2726).
"""

import difflib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from quell.adapters.actuators.haproxy_files import read_file, read_map, write_map, write_state
from quell.adapters.actuators.haproxy_runtime import RUNNING, RuntimeClient, ServerState, parse_servers
from quell.config.config import Config
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.mitigation import Step

State = Mapping[str, str]


class HAProxyActuator:
    """The HAProxy that `connections.haproxy_socket` names.

    `maps` is the folder with `limits.map`, `knobs.map` and `backends.map`; without it the maps are changed at runtime
    only and a reload forgets them. `state_file` is HAProxy's `server-state-file`; the same holds. `timeout` bounds one
    command.
    """

    name = "haproxy"

    def __init__(
        self, *, socket: str, maps: Path | None, state_file: Path | None, timeout: timedelta = timedelta(seconds=5)
    ) -> None:
        client = RuntimeClient(socket, timeout)
        self._client = client
        self._levers: Mapping[str, _Lever] = {
            "isolate": _Isolate(client, state_file),
            "maint": _Maint(client, state_file),
            "weight": _Weight(client, state_file),
            "throttle": _Throttle(client, maps),
            "throttle_all": _ThrottleAll(client, maps),
            "shed": _Shed(client, maps),
            "switch": _Switch(client, maps),
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
        return {target: _known(servers, target).serving_share for target in service_targets}

    def witness(self, step: Step) -> str:
        return self._lever(step).witness(step)

    def _lever(self, step: Step) -> "_Lever":
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


class _Lever(Protocol):
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


class _ServerLever:
    """What isolate, maint and weight share: the server's administrative state and weight, before and after."""

    parameters: tuple[str, ...] = ()

    def __init__(self, client: RuntimeClient, state_file: Path | None) -> None:
        self._client = client
        self._file = state_file

    def read_state(self, step: Step) -> State:
        return _state(self._server(step))

    def undo(self, step: Step, state_before: State) -> None:
        self._server(step)
        self._client.order("set", "server", step.target, "state", state_before["admin_state"])
        self._client.order("set", "weight", step.target, state_before["weight"])
        self._persist()

    def verify_undone(self, step: Step, state_before: State) -> bool:
        return self._in_force(step, state_before)

    def witness(self, step: Step) -> str:
        """A server that HAProxy's own checks find down."""
        found = self._server(step)
        return "" if found.operational == RUNNING else f"HAProxy's own checks find {step.target} down"

    def _server(self, step: Step) -> ServerState:
        return _known(self._client.servers(), step.target)

    def _in_force(self, step: Step, state: State) -> bool:
        """Whether the server is in that state now and would still be after a reload."""
        now = self.read_state(step)
        if any(now[name] != value for name, value in state.items()):
            return False
        kept = parse_servers(read_file(self._file)).get(step.target) if self._file else None
        return self._file is None or (kept is not None and all(_state(kept)[n] == v for n, v in state.items()))

    def _persist(self) -> None:
        if self._file is not None:
            write_state(self._file, lambda: self._client.ask("show", "servers", "state"))


class _Isolate(_ServerLever):
    """Takes one server (`backend/server`) out: it gets no new requests, running ones finish.

    Isolation silences the server's own alert, since it has no traffic any more: recovery is judged elsewhere.
    """

    def describe(self, step: Step) -> str:
        return f"drain {step.target}: no new requests, running ones finish"

    def describe_undo(self, step: Step) -> str:
        return f"put {step.target} back into the administrative state and weight it had before"

    def apply(self, step: Step) -> None:
        self._server(step)
        self._client.order("set", "server", step.target, "state", "drain")
        self._persist()

    def verify(self, step: Step) -> bool:
        return self._in_force(step, {"admin_state": "drain"})


class _Maint(_ServerLever):
    """Puts one server (`backend/server`) into maintenance: no new requests, no health checks, sessions move elsewhere.

    For a machine that is about to be worked on. Unlike a drained one it also loses the clients that stick to it.
    """

    def describe(self, step: Step) -> str:
        return f"put {step.target} into maintenance: no new requests, no health checks"

    def describe_undo(self, step: Step) -> str:
        return f"put {step.target} back into the administrative state and weight it had before"

    def apply(self, step: Step) -> None:
        self._server(step)
        self._client.order("set", "server", step.target, "state", "maint")
        self._persist()

    def verify(self, step: Step) -> bool:
        return self._in_force(step, {"admin_state": "maint"})


class _Weight(_ServerLever):
    """Sets the weight of one server (params: weight 0..256), for a canary or a gradual return.

    Absolute numbers only: a percentage is a share of the initial weight and stays 0 when that is 0.
    """

    parameters = ("weight",)

    def describe(self, step: Step) -> str:
        return f"set the weight of {step.target} to {_whole(step, 'weight', 0, 256)}"

    def describe_undo(self, step: Step) -> str:
        return f"put the weight of {step.target} back to what it was before"

    def apply(self, step: Step) -> None:
        weight = _whole(step, "weight", 0, 256)
        self._server(step)
        self._client.order("set", "weight", step.target, str(weight))
        self._persist()

    def verify(self, step: Step) -> bool:
        return self._in_force(step, {"weight": str(_whole(step, "weight", 0, 256))})


class _MapLever:
    """What the map levers share: one key of one map, at runtime and in its file."""

    file: str
    parameters: tuple[str, ...] = ("requests_per_second",)
    most = 1_000_000

    def __init__(self, client: RuntimeClient, maps: Path | None) -> None:
        self._client = client
        self._maps = maps

    def key(self, step: Step) -> str:
        raise NotImplementedError

    def value(self, step: Step) -> str:
        return str(_whole(step, self.parameters[0], 1, self.most))

    def read_state(self, step: Step) -> State:
        value = self._entries().get(self.key(step))
        return {} if value is None else {"value": value}

    def apply(self, step: Step) -> None:
        self._set(self.key(step), self.value(step))

    def verify(self, step: Step) -> bool:
        return self._reads(self.key(step), self.value(step))

    def undo(self, step: Step, state_before: State) -> None:
        if "value" in state_before:
            self._set(self.key(step), state_before["value"])
            return
        if self.key(step) in self._entries():
            self._client.order("del", "map", self._id(), self.key(step))
        self._persist()

    def verify_undone(self, step: Step, state_before: State) -> bool:
        return self._reads(self.key(step), state_before.get("value"))

    def witness(self, step: Step) -> str:  # noqa: ARG002 - the levers' signature
        return ""

    def _set(self, key: str, value: str) -> None:
        verb = "set" if key in self._entries() else "add"  # `set map` on a missing key answers "entry not found."
        self._client.order(verb, "map", self._id(), key, value)
        self._persist()

    def _reads(self, key: str, value: str | None) -> bool:
        in_file = read_map(self._maps / self.file).get(key) == value if self._maps else True
        return in_file and self._entries().get(key) == value

    def _id(self) -> str:
        ids = self._client.map_ids()
        if self.file not in ids:
            raise InvalidInput(f"haproxy uses no {self.file}; it uses {', '.join(sorted(ids)) or 'no map'}")
        return ids[self.file]

    def _entries(self) -> Mapping[str, str]:
        return self._client.map_entries(self._id())

    def _persist(self) -> None:
        if self._maps is not None:
            write_map(self._maps / self.file, self._entries)


class _Throttle(_MapLever):
    """Limits one client (`client:NAME`, as in the header x-client) to params requests_per_second; the rest get 429.

    Only admitted requests count, so that throughput settles at the limit however much is offered.
    """

    file = "limits.map"

    def key(self, step: Step) -> str:
        kind, _, client = step.target.partition(":")
        if kind != "client" or not client or client.startswith("#") or len(client) > 64:
            raise InvalidInput(f"throttle target {step.target!r} is not client:NAME with 1 to 64 characters")
        return client.lower()  # the configuration compares in lower case

    def describe(self, step: Step) -> str:
        rate = self.value(step)
        return f"limit client {self.key(step)} to {rate} requests per second, answer the rest with 429"

    def describe_undo(self, step: Step) -> str:
        return f"put the limit of client {self.key(step)} back to what it was before, or take it away"

    def witness(self, step: Step) -> str:
        """A client that HAProxy itself admits more often than the limit would."""
        limit, rate = int(self.value(step)), self._client.rate_of(self.key(step))
        if rate is None or rate <= limit:
            return ""
        return f"HAProxy admits {rate} requests a second of {self.key(step)}, the limit would be {limit}"


class _ThrottleAll(_MapLever):
    """Limits all requests together to params requests_per_second; the rest get 429. The target is `global`."""

    file = "knobs.map"

    def key(self, step: Step) -> str:
        if step.target != "global":
            raise InvalidInput(f"throttle_all target {step.target!r} is not 'global'")
        return "global_rps"

    def describe(self, step: Step) -> str:
        return f"limit everything to {self.value(step)} requests per second, answer the rest with 429"

    def describe_undo(self, step: Step) -> str:
        return f"put the limit on everything back to what it was before {step.target} was throttled"


class _Shed(_MapLever):
    """Answers params per_mille (1..1000) of all requests with 503 at once, so that the rest are served well.

    Which requests are shed is chance. The target is `global`.
    """

    file = "knobs.map"
    parameters = ("per_mille",)
    most = 1000

    def key(self, step: Step) -> str:
        if step.target != "global":
            raise InvalidInput(f"shed target {step.target!r} is not 'global'")
        return "shed"

    def describe(self, step: Step) -> str:
        return f"shed {self.value(step)} of 1000 requests: they are answered 503, chosen by chance"

    def describe_undo(self, step: Step) -> str:
        return f"put the share of requests that is shed back to what it was before, for {step.target}"


class _Switch(_MapLever):
    """Sends all new requests of a route (`route:NAME`) to another backend (params: backend), as blue/green does.

    The route is a key of backends.map. Only a backend in which a server takes requests is switched to.
    """

    file = "backends.map"
    parameters = ("backend",)

    def key(self, step: Step) -> str:
        kind, _, route = step.target.partition(":")
        if kind != "route" or not route:
            raise InvalidInput(f"switch target {step.target!r} is not route:NAME")
        routes = self._entries()
        if route not in routes:
            raise InvalidInput(f"backends.map has no route {route!r}; it has {', '.join(sorted(routes)) or 'none'}")
        return route

    def value(self, step: Step) -> str:
        """HAProxy takes any text here and would silently serve from the default backend, so the name is looked up."""
        wanted = str(step.params.get("backend", ""))
        known = {server.backend for server in self._client.servers().values()}
        if wanted not in known:
            raise InvalidInput(f"haproxy has no backend {wanted!r}; it has {', '.join(sorted(known)) or 'none'}")
        return wanted

    def describe(self, step: Step) -> str:
        return f"send all new requests of {step.target} to backend {self.value(step)}"

    def describe_undo(self, step: Step) -> str:
        return f"send the requests of {step.target} back to the backend that served them before"

    def apply(self, step: Step) -> None:
        route, backend = self.key(step), self.value(step)
        servers = [server for server in self._client.servers().values() if server.backend == backend]
        if not any(server.serving_share > 0 for server in servers):
            raise Refused(
                f"backend {backend} has {len(servers)} servers and none takes requests, at least 1 must: "
                f"bring one up before {step.target} is sent there",
                rule="switch to a backend that serves",
                value="0",
                limit="1",
            )
        self._set(route, backend)


def _state(server: ServerState) -> State:
    return {"admin_state": server.admin_state, "weight": str(server.weight)}


def _known(servers: Mapping[str, ServerState], target: str) -> ServerState:
    if target in servers:
        return servers[target]
    near = difflib.get_close_matches(target, servers, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InvalidInput(f"haproxy has no server {target!r}{hint}")


def _whole(step: Step, name: str, low: int, high: int) -> int:
    value = step.params.get(name)
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise InvalidInput(
            f"{step.action} of {step.target}: {name} is {value!r}, it must be a whole number {low}..{high}"
        )
    return number
