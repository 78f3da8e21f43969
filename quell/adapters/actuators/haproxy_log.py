"""HAProxy's log of single requests, as a ring in its memory holds it: what a canary's latencies are read from.

The ring and the line are the user's to configure (docs/resolution.md); `show events` needs HAProxy 2.2.
"""

from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.errors import InvalidInput
from quell.incidents.served import ServedRequest

LOG_FORMAT = "%b/%s %ST %Ta %pid-%rt"
_FIELDS = 4


def read_log(client: RuntimeClient, ring: str) -> list[ServedRequest]:
    """What the ring holds now, oldest first; requests that no server answered are left out. Raises InvalidInput."""
    reply = client.ask("show", "events", ring)
    lines = reply.splitlines()
    found = [_parse(line) for line in lines]
    served = [request for request in found if request is not None]
    if lines and not served:
        hint = f'log ring@{ring} format raw local0, and log-format "{LOG_FORMAT}"'
        raise InvalidInput(f"haproxy's ring {ring!r} says {lines[0][:80]!r}, which is no request; it needs: {hint}")
    return served


def _parse(line: str) -> ServedRequest | None:
    parts = line.split()
    if len(parts) != _FIELDS or not (parts[1].isdigit() and parts[2].isdigit()) or "<NOSRV>" in parts[0]:
        return None
    return ServedRequest(id=parts[3], server=parts[0], status=int(parts[1]), seconds=int(parts[2]) / 1000)
