"""Ports for what is about to start: two processes that look at the same moment are never given the same one."""

import random
import socket
from collections import deque

from quell.incidents.errors import NotFound

# Below Linux's range of ephemeral ports (32768 and up) and apart from the sandboxes' families (12000 and up), so that
# neither a connection that leaves nor a server that lets the kernel choose can take one meanwhile.
_SINGLE = range(10000, 12000)
_HELD = 64  # by the time so many more were given away, the first is bound by its user or no longer needed

_held: deque[socket.socket] = deque()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and that `reserve` refuses to others for a while. Raises NotFound."""
    for port in random.sample(_SINGLE, len(_SINGLE)):
        if is_free(port) and reserve(port) and is_free(port):
            return port
    raise NotFound(f"no free port between {_SINGLE.start} and {_SINGLE.stop - 1}; stop something that listens there")


def reserve(port: int) -> bool:
    """Whether this process is now the one that may use the port; false while any process has it reserved.

    A reservation is a UDP socket of the same number: it ends with its process and is in nobody's way, as all that we
    start listens on TCP.
    """
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _held.append(claim)
    if len(_held) > _HELD:
        _held.popleft().close()
    return True


def is_free(port: int) -> bool:
    """Whether nothing listens on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
