"""HAProxy's map of standing limits: replaced whole, in one step, at runtime and on disk; and what it refused of whom.

Limits of incidents are in other maps (`limits.map`, `adaptive.map`) with rules of their own, so that the stricter one
counts and the end of an incident leaves the standing limit as it is. The lines of haproxy.cfg are in docs/limits.md.
"""

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from quell.adapters.actuators.haproxy_files import read_file, write_text
from quell.adapters.actuators.haproxy_runtime import CommandFailed, RuntimeClient
from quell.adapters.actuators.haproxy_traffic import EVERYTHING
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.standing import read_limits
from quell.response.traffic import ClientCount, Counted

FILE = "standing.map"
NO_LIMITS = "# requests in the limiter's window for each client; Quell writes this file\n"
_SEE = "see docs/limits.md for the lines of haproxy.cfg"
_OTHERS = "2"  # the key of requests without a line, beside that of everything
_VERSION = re.compile(r"New version created: (?P<version>\d+)")
_ENTRY = re.compile(r"key=(?P<key>\S+) use=")
_COUNTS = re.compile(r"\b(?P<name>gpt0|http_req_cnt)=(?P<count>\d+)")
_WINDOW = re.compile(r"\bgpc1_rate\((?P<milliseconds>\d+)\)=")
_TABLE = re.compile(r"# table: (?P<name>[^,\s]+), type: (?P<type>\w+)")


class StandingMap:
    """The map named standing.map; `maps` is the folder of its file, without which nothing is put into force."""

    def __init__(self, client: RuntimeClient, maps: Path | None) -> None:
        self._client = client
        self._maps = maps

    def put(self, text: str | None) -> None:
        """Let exactly these limits be in force, or none (None). HAProxy goes from all old ones to all new ones at once.

        Raises InvalidInput where haproxy.cfg has no such map or no folder is configured, Unavailable when HAProxy does
        not answer; the limits before are in force then.
        """
        file, wanted = self._file(), read_limits(text or "")
        map_id = self._id()
        found = _VERSION.search(self._client.ask("prepare", "map", map_id))
        if found is None:
            raise CommandFailed(f"haproxy prepares no new version of {FILE}; it needs HAProxy 2.4 or later")
        version = f"@{found['version']}"
        for name, limit in wanted.items():
            self._client.order("add", "map", version, map_id, name, str(limit))
        self._client.order("commit", "map", version, map_id)
        write_text(file, lambda: text or NO_LIMITS)

    def is_in_force(self, text: str | None) -> bool:
        """Whether HAProxy refuses by exactly these limits now, and would after a restart."""
        wanted = read_limits(text or "")
        entries = self._client.map_entries(self._id())
        return entries == {name: str(limit) for name, limit in wanted.items()} and self._would_load(wanted)

    def entries(self) -> Mapping[str, str]:
        """What HAProxy refuses by now."""
        return self._client.map_entries(self._id())

    def refused(self) -> Counted:
        """All requests; those of clients without a line, and what the limit on them together refused; of each client
        that its own limit (or NEW) has refused, the same. Clients that were never refused are not listed.
        """
        clients, everything = self._tables()
        totals, nothing = _counts(self._client.ask("show", "table", everything)), ClientCount(offered=0, admitted=0)
        return Counted(
            at_seconds=time.monotonic(),
            total=totals.get(EVERYTHING, nothing),
            others=totals.get(_OTHERS, nothing),
            clients=_counts(self._client.ask("show", "table", clients, "data.gpt0", "gt", "0")),
        )

    def check_window(self, window: timedelta) -> None:
        """Raises InvalidInput where haproxy.cfg counts over another time than limits were learned for.

        HAProxy shows the time with an entry only: where nobody sent anything yet there is nothing to compare.
        """
        clients, everything = self._tables()
        for table in (clients, everything):
            text = self._client.ask("show", "table", table)
            found = _WINDOW.search(text)
            if found is None and "key=" in text:
                raise InvalidInput(f"haproxy's table {table} stores no gpc1_rate, which standing limits need: {_SEE}")
            if found is not None and timedelta(milliseconds=int(found["milliseconds"])) != window:
                raise InvalidInput(
                    f"haproxy's table {table} counts gpc1_rate over {int(found['milliseconds']) / 1000:g} s, and "
                    f"standing_limits.window in quell.toml is {window.total_seconds():g} s: make them equal"
                )

    def _tables(self) -> tuple[str, str]:
        """The tables of clients and of everything: the first of each type."""
        found: dict[str, str] = {}
        for line in self._client.ask("show", "table").splitlines():
            if (table := _TABLE.match(line)) is not None:
                found.setdefault(table["type"], table["name"])
        if "string" not in found or "integer" not in found:
            raise InvalidInput(f"haproxy has no limiter's stick tables, for clients and for everything: {_SEE}")
        return found["string"], found["integer"]

    def _would_load(self, wanted: Mapping[str, int]) -> bool:
        try:
            return read_limits(read_file(self._file())) == wanted
        except InvalidInput:  # somebody wrote something else into the file
            return False

    def _file(self) -> Path:
        if self._maps is None:
            raise InvalidInput(
                "standing limits need connections.haproxy_maps in quell.toml: HAProxy would forget them when it reloads"
            )
        return self._maps / FILE

    def _id(self) -> str:
        ids = self._client.map_ids()
        if not ids:
            raise Unavailable(f"haproxy at {self._client.address} names no map; is it being reloaded?")
        if FILE not in ids:
            raise InvalidInput(f"haproxy uses no {FILE}; it uses {', '.join(sorted(ids))}: {_SEE}")
        return ids[FILE]


def _counts(text: str) -> Mapping[str, ClientCount]:
    found: dict[str, ClientCount] = {}
    for line in text.splitlines():
        key, counts = _ENTRY.search(line), {m["name"]: int(m["count"]) for m in _COUNTS.finditer(line)}
        if key is not None and len(counts) == 2:
            offered, refused = counts["http_req_cnt"], counts["gpt0"]
            found[key["key"]] = ClientCount(offered=offered, admitted=offered - refused)
    return found
