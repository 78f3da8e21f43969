"""HAProxy's levers on one server: drain, maintenance and weight."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from quell.adapters.actuators.haproxy_files import read_file, write_state
from quell.adapters.actuators.haproxy_params import whole_number
from quell.adapters.actuators.haproxy_runtime import RUNNING, RuntimeClient, ServerState, parse_servers
from quell.incidents.errors import InvalidInput
from quell.incidents.mitigation import Step

State = Mapping[str, str]


class ServerLever:
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

    def ease(self, step: Step, state_before: State, share: float) -> None:
        """Ready, with this share of the weight that it had before, and at least 1: 0 would be none at all."""
        self._server(step)
        weight = max(round(int(state_before["weight"]) * share), 1)
        self._client.order("set", "weight", step.target, str(weight))  # first, or it would get its full share at once
        self._client.order("set", "server", step.target, "state", state_before["admin_state"])
        self._persist()

    def answered(self, step: Step) -> tuple[int, int]:
        self._server(step)
        return self._client.answers_of(step.target)

    def witness(self, step: Step) -> str:
        """A server that HAProxy's own checks find down."""
        found = self._server(step)
        return "" if found.operational == RUNNING else f"HAProxy's own checks find {step.target} down"

    def _server(self, step: Step) -> ServerState:
        return known_server(self._client.servers(), step.target)

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


class Isolate(ServerLever):
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


class Maint(ServerLever):
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


class Weight(ServerLever):
    """Sets the weight of one server (params: weight 0..256), for a canary or a gradual return.

    Absolute numbers only: a percentage is a share of the initial weight and stays 0 when that is 0.
    """

    parameters = ("weight",)

    def describe(self, step: Step) -> str:
        return f"set the weight of {step.target} to {whole_number(step, 'weight', 0, 256)}"

    def describe_undo(self, step: Step) -> str:
        return f"put the weight of {step.target} back to what it was before"

    def apply(self, step: Step) -> None:
        weight = whole_number(step, "weight", 0, 256)
        self._server(step)
        self._client.order("set", "weight", step.target, str(weight))
        self._persist()

    def verify(self, step: Step) -> bool:
        return self._in_force(step, {"weight": str(whole_number(step, "weight", 0, 256))})


def _state(server: ServerState) -> State:
    return {"admin_state": server.admin_state, "weight": str(server.weight)}


def known_server(servers: Mapping[str, ServerState], target: str) -> ServerState:
    if target in servers:
        return servers[target]
    near = difflib.get_close_matches(target, servers, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InvalidInput(f"haproxy has no server {target!r}{hint}")
