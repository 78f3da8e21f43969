"""What HAProxy counted: requests and answers of a backend, and of each client in the limiter's tables."""

import csv
import re
import time
from collections.abc import Mapping
from io import StringIO

from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.errors import InvalidInput
from quell.response.traffic import ClientCount, Requests, Traffic

_TABLE = re.compile(r"# table: (?P<name>[^,\s]+), type: (?P<type>\w+)(?:.*used:(?P<used>\d+))?")
_ENTRY = re.compile(r"key=(?P<key>\S+) use=")
_OFFERED = re.compile(r"\bhttp_req_cnt=(?P<count>\d+)")
_ADMITTED = re.compile(r"\bgpc0=(?P<count>\d+)")
EVERYTHING = "1"  # the key under which all requests are counted
_MOST_ROWS = 5000  # of larger tables only who was seen in the last second is asked for
_BACKEND = "2"  # the object type in `show stat`
_ANSWERED = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_other")


def read_traffic(client: RuntimeClient, backend: str) -> Traffic:
    """The counters as they are now. Raises InvalidInput where the backend or the limiter's tables are not there.

    The tables are found by what they hold: one of clients (type string) and one of everything (type integer), both
    with `gpc0` for admitted requests and `http_req_cnt` for all.
    """
    row, requests = _stat(client, backend), read_requests(client, only_lately=True)
    return Traffic(
        at_seconds=requests.at_seconds,
        in_flight=_number(row, "scur"),
        answered=sum(_number(row, name) for name in _ANSWERED),
        failed=_number(row, "hrsp_5xx"),
        offered=requests.offered,
        admitted=requests.admitted,
        clients=requests.clients,
    )


def read_requests(client: RuntimeClient, *, only_lately: bool = False) -> Requests:
    """Requests alone, without asking a backend what became of them; `only_lately`: of clients of the last second."""
    clients, everything, is_small = _tables(client)
    totals = _counts(client.ask("show", "table", everything))
    total = totals.get(EVERYTHING) or next(iter(totals.values()), ClientCount(offered=0, admitted=0))
    is_whole = is_small and not only_lately
    only = () if is_whole else ("data.http_req_rate", "gt", "0")
    return Requests(
        at_seconds=time.monotonic(),
        offered=total.offered,
        admitted=total.admitted,
        clients=_counts(client.ask("show", "table", clients, *only)),
        is_whole=is_whole,
    )


def _stat(client: RuntimeClient, backend: str) -> Mapping[str, str]:
    text = client.ask("show", "stat", backend, _BACKEND, "-1")
    rows = list(csv.DictReader(StringIO(text.removeprefix("# "))))
    row = next((one for one in rows if one.get("svname") == "BACKEND" and one.get("pxname") == backend), None)
    if row is None:
        known = {server.backend for server in client.servers().values()}
        raise InvalidInput(f"haproxy has no backend {backend!r}; it has {', '.join(sorted(known)) or 'none'}")
    return row


def _tables(client: RuntimeClient) -> tuple[str, str, bool]:
    """The names of the table of clients and of the table of everything, and whether the first is small."""
    found: dict[str, tuple[str, int]] = {}
    for line in client.ask("show", "table").splitlines():
        table = _TABLE.match(line)
        if table is not None:
            found.setdefault(table["type"], (table["name"], int(table["used"] or 0)))
    if "string" not in found or "integer" not in found:
        raise InvalidInput(
            "haproxy has no limiter's stick tables, one of type string for clients and one of type integer for all: "
            "see docs/surge.md for the lines of haproxy.cfg"
        )
    return found["string"][0], found["integer"][0], found["string"][1] <= _MOST_ROWS


def _counts(text: str) -> Mapping[str, ClientCount]:
    """Key -> counts, of the lines of `show table`."""
    counts: dict[str, ClientCount] = {}
    for line in text.splitlines():
        key, offered, admitted = _ENTRY.search(line), _OFFERED.search(line), _ADMITTED.search(line)
        if key is not None and offered is not None and admitted is not None:
            counts[key["key"]] = ClientCount(offered=int(offered["count"]), admitted=int(admitted["count"]))
    return counts


def _number(row: Mapping[str, str], name: str) -> int:
    return int(row.get(name) or 0)
