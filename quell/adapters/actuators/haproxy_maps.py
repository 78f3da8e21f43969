"""HAProxy's levers that are a key of a map: limits of clients and of all, shedding, and the backend of a route."""

from collections.abc import Mapping
from pathlib import Path

from quell.adapters.actuators.haproxy_files import read_map, write_map
from quell.adapters.actuators.haproxy_params import whole_number
from quell.adapters.actuators.haproxy_runtime import RuntimeClient, check_word
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.mitigation import Step

State = Mapping[str, str]


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
        return str(whole_number(step, self.parameters[0], 1, self.most))

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


class Throttle(_MapLever):
    """Limits one client (`client:NAME`, as in the header x-client) to params requests_per_second; the rest get 429.

    Only admitted requests count, so that throughput settles at the limit however much is offered.
    """

    file = "limits.map"

    def key(self, step: Step) -> str:
        kind, _, client = step.target.partition(":")
        if kind != "client" or not client or client.startswith("#") or len(client) > 64:
            raise InvalidInput(f"throttle target {step.target!r} is not client:NAME with 1 to 64 characters")
        check_word(client)
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


class ThrottleAll(_MapLever):
    """Limits all requests together (`global`) to params requests_per_second; the rest get 429."""

    file = "knobs.map"

    def key(self, step: Step) -> str:
        if step.target != "global":
            raise InvalidInput(f"throttle_all target {step.target!r} is not 'global'")
        return "global_rps"

    def describe(self, step: Step) -> str:
        return f"limit everything to {self.value(step)} requests per second, answer the rest with 429"

    def describe_undo(self, step: Step) -> str:
        return f"put the limit on everything back to what it was before {step.target} was throttled"


class Shed(_MapLever):
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


class Switch(_MapLever):
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
        return self._backend(step)

    def _backend(self, step: Step) -> str:
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
        route, value, backend = self.key(step), self.value(step), self._backend(step)
        servers = [server for server in self._client.servers().values() if server.backend == backend]
        if not any(server.serving_share > 0 for server in servers):
            raise Refused(
                f"backend {backend} has {len(servers)} servers and none takes requests, at least 1 must: "
                f"bring one up before {step.target} is sent there",
                rule="switch to a backend that serves",
                value="0",
                limit="1",
            )
        self._set(route, value)


class Split(Switch):
    """Sends params per_mille (0..1000) of a route's requests (`route:NAME`) to another backend (params: backend).

    Every so many-th request, counted, not chance: of 1000 requests it is exactly that many. docs/resolution.md has the
    lines of haproxy.cfg. A split that is taken away again is 0 of 1000.
    """

    file = "splits.map"
    parameters = ("backend", "per_mille")

    def key(self, step: Step) -> str:
        kind, _, route = step.target.partition(":")
        if kind != "route" or not route:
            raise InvalidInput(f"split target {step.target!r} is not route:NAME")
        routes = self._entries()
        if route not in routes:
            known = ", ".join(sorted(routes)) or "none"
            raise InvalidInput(
                f"splits.map has no route {route!r}; it has {known}: each needs a line `ROUTE none:0`, "
                "see docs/resolution.md"
            )
        return route

    def value(self, step: Step) -> str:
        return f"{self._backend(step)}:{whole_number(step, 'per_mille', 0, 1000)}"

    def describe(self, step: Step) -> str:
        backend, _, per_mille = self.value(step).partition(":")
        return f"send {per_mille} of 1000 requests of {step.target} to backend {backend}"

    def describe_undo(self, step: Step) -> str:
        return f"send as many requests of {step.target} to the other backend as before"
