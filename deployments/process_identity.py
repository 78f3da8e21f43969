"""Which process runs something, said so that another one can tell later whether it still lives."""

import os
import socket
from pathlib import Path


def own_identity() -> str:
    """`host:process:start` of this process; the start keeps a number that was given away again from being believed."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_gone(identity: str) -> bool:
    """Whether the process ended. A process of another machine is never said to be gone: nobody here can know.

    `host:process`, as Prefect's process worker writes it, is understood too.
    """
    host, _, rest = identity.partition(":")
    process, _, start = rest.partition(":")
    if host != socket.gethostname() or not process.isdigit():
        return False
    now = _start_of(int(process))
    return now is None or start not in ("", now)


def _start_of(process: int) -> str | None:
    """When the process started, in ticks since boot; None when there is none, or only its exit is left to be read."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else words[19]
