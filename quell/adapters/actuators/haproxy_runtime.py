"""HAProxy's runtime API: one command, one reply, and the few replies that Quell reads."""

import csv
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath

from quell.incidents.errors import InvalidInput, QuellError, Unavailable

FORCED_MAINT, FORCED_DRAIN = 0x01, 0x08  # bits of srv_admin_state, HAProxy management guide, "show servers state"
RUNNING = "2"
_ADDRESS = re.compile(r"(?P<host>[^/:]+|\[[^/]+\]):(?P<port>\d+)")
_WORD = re.compile(r"[A-Za-z0-9_.:#/@+\-]+")
_TABLE = re.compile(r"# table: (?P<name>[^,\s]+), type: (?P<type>\w+)")
_RATE = re.compile(r"gpc0_rate\(\d+\)=(?P<rate>\d+)")
_READ_BYTES = 65536
_DEADLY = ("set", "maxconn", "frontend")


class CommandFailed(QuellError):
    """HAProxy answered a command with text where it should have been silent; the text is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One line of `show servers state`."""

    backend: str
    name: str
    operational: str
    admin: int
    weight: int
    initial_weight: int

    @property
    def admin_state(self) -> str:
        """The state that `set server ... state` would set: ready, drain or maint."""
        if self.admin & FORCED_MAINT:
            return "maint"
        return "drain" if self.admin & FORCED_DRAIN else "ready"

    @property
    def serving_share(self) -> float:
        """Share (0..1) of its full weight that takes new requests now."""
        if self.operational != RUNNING or self.admin != 0:
            return 0.0
        return min(self.weight / self.initial_weight, 1.0) if self.initial_weight else min(float(self.weight), 1.0)


class RuntimeClient:
    """Speaks to the runtime API over a unix socket (a path) or TCP (host:port), one connection per command."""

    def __init__(self, address: str, timeout: timedelta, until: float = float("inf")) -> None:
        self.address = address
        self._timeout = timeout
        self._until = until  # time.monotonic() after which no command is sent

    def within(self, time_left: timedelta) -> "RuntimeClient":
        """The same, for commands that all together may take so long from now."""
        return RuntimeClient(self.address, self._timeout, time.monotonic() + time_left.total_seconds())

    def ask(self, *words: str) -> str:
        """Send one command and return its reply without the trailing blank lines.

        Words are checked: a blank, a newline or `;` in a name would start another command. Raises Unavailable when
        HAProxy does not answer in time.
        """
        if words[:3] == _DEADLY:
            raise InvalidInput("`set maxconn frontend` is never sent: it can kill HAProxy 2.6 (haproxy/haproxy#2726)")
        for word in words:
            check_word(word)
        seconds = min(self._timeout.total_seconds(), self._until - time.monotonic())
        if seconds <= 0:
            raise Unavailable(f"haproxy at {self.address} took longer than the step's timeout; is it overloaded?")
        try:
            with self._connect(seconds) as connection:
                connection.sendall(" ".join(words).encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                return _read_all(connection).decode(errors="replace").strip("\n")
        except OSError as error:
            raise Unavailable(f"haproxy at {self.address} does not answer: {error}; is it running?") from error

    def order(self, *words: str) -> None:
        """Send a command that HAProxy carries out in silence. Raises CommandFailed with its text otherwise."""
        reply = self.ask(*words).strip()
        if reply:
            raise CommandFailed(f"haproxy refused {' '.join(words)!r}: {reply}")

    def servers(self) -> Mapping[str, ServerState]:
        """`backend/server` -> its state, for all backends."""
        return parse_servers(self.ask("show", "servers", "state"))

    def map_ids(self) -> Mapping[str, str]:
        """File name of each map (without folder) -> its id for commands (`#3`)."""
        lines = [line.split() for line in self.ask("show", "map").splitlines() if line and line[0].isdigit()]
        return {PurePath(parts[1].strip("()")).name: f"#{parts[0]}" for parts in lines}

    def map_entries(self, map_id: str) -> Mapping[str, str]:
        """Key -> value of one map, as it is in force now."""
        lines = [line.split(None, 2) for line in self.ask("show", "map", map_id).splitlines()]
        return {parts[1]: parts[2] if len(parts) > 2 else "" for parts in lines if len(parts) > 1}

    def answers_of(self, target: str) -> tuple[int, int]:
        """How many requests `backend/server` answered since HAProxy started, and how many of them with 5xx."""
        given = self._responses().get(target)
        return (sum(given), given[4]) if given else (0, 0)

    def answers(self, names: Sequence[str]) -> Mapping[str, int]:
        """How many requests each `backend/server`, or each backend as a whole, answered since HAProxy started."""
        given = self._responses()
        return {name: sum(given.get(name if "/" in name else f"{name}/BACKEND", ())) for name in names}

    def _responses(self) -> Mapping[str, list[int]]:
        """`backend/server` -> its answers by class of status, 1xx first; a backend as a whole is `backend/BACKEND`."""
        kinds = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
        return {name: [int(row[f"hrsp_{kind}"] or 0) for kind in kinds] for name, row in self._stat().items()}

    def running(self, names: Sequence[str]) -> Mapping[str, int]:
        """How many requests each `backend/server` is answering at this moment; idle connections do not count."""
        rows = self._stat()
        return {name: int(rows[name]["scur"] or 0) if name in rows else 0 for name in names}

    def _stat(self) -> Mapping[str, Mapping[str, str]]:
        rows = csv.DictReader(self.ask("show", "stat").removeprefix("# ").splitlines())
        return {f"{row['pxname']}/{row['svname']}": row for row in rows}

    def rate_of(self, key: str) -> int | None:
        """How many requests in its table's period HAProxy counts for a key; None where it counts none."""
        for line in self.ask("show", "table").splitlines():
            found = _TABLE.match(line)
            if found is None or found["type"] != "string":
                continue
            counted = _RATE.search(self.ask("show", "table", found["name"], "key", key))
            if counted is not None:
                return int(counted["rate"])
        return None

    def _connect(self, seconds: float) -> socket.socket:
        tcp = _ADDRESS.fullmatch(self.address)
        if tcp:
            return socket.create_connection((tcp["host"].strip("[]"), int(tcp["port"])), timeout=seconds)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect(self.address)
        except BaseException:
            connection.close()
            raise
        return connection


def check_word(word: str) -> None:
    """Raises InvalidInput for what would be more than one word of a command."""
    if not _WORD.fullmatch(word):
        raise InvalidInput(f"{word!r} cannot be part of an HAProxy command: use letters, digits and _.:#/@+-")


def parse_servers(text: str) -> Mapping[str, ServerState]:
    """Read `show servers state` (version 1) by the names in its header line."""
    lines = text.splitlines()
    header = next((line for line in lines if line.startswith("# ")), "")
    names = header.removeprefix("# ").split()
    found: dict[str, ServerState] = {}
    for line in lines:
        cells = line.split()
        if line.startswith("#") or len(cells) < len(names) or not names:
            continue
        row = dict(zip(names, cells, strict=False))
        state = ServerState(
            backend=row["be_name"],
            name=row["srv_name"],
            operational=row["srv_op_state"],
            admin=int(row["srv_admin_state"]),
            weight=int(row["srv_uweight"]),
            initial_weight=int(row["srv_iweight"]),
        )
        found[f"{state.backend}/{state.name}"] = state
    return found


def _read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    while part := connection.recv(_READ_BYTES):
        parts.append(part)
    return b"".join(parts)
