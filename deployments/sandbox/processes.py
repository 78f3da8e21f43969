"""Child processes that never outlive their parent, and pids that are never mistaken for a later process."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process for good: its pid and when the kernel started it (ticks since boot)."""

    pid: int
    started: int

    def is_alive(self) -> bool:
        """A zombie that nobody has waited for yet counts as gone."""
        found = _stat(self.pid)
        return found is not None and found == (self.started, True)

    def send(self, number: int) -> None:
        if self.is_alive():
            os.kill(self.pid, number)


def identify(pid: int) -> Identity | None:
    found = _stat(pid)
    return Identity(pid=pid, started=found[0]) if found else None


def _stat(pid: int) -> tuple[int, bool] | None:
    """(start time, is running) from /proc, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[19]), fields[0] not in ("Z", "X")


def die_with(parent: int) -> Callable[[], None]:
    """For preexec_fn: the kernel sends SIGTERM when the parent dies, however it dies."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def start_child(
    argv: Sequence[str], *, log: Path, environment: Mapping[str, str], with_pipes: bool = False
) -> subprocess.Popen[bytes]:
    """Output goes to the log; `with_pipes` keeps stdin and stdout for talking to it.

    Start from the main thread only: Linux ties a child to the thread that forked it.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if with_pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if with_pipes else out,
            stderr=out,
            env=dict(environment),
            preexec_fn=die_with(os.getpid()),
        )


def stop_all(identities: Iterable[Identity], *, grace_seconds: float = 5.0) -> None:
    """SIGTERM, then SIGKILL to what is left after the grace. Returns when all are gone."""
    left = [identity for identity in identities if identity.is_alive()]
    for identity in left:
        identity.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while (left := [i for i in left if i.is_alive()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for identity in left:
        identity.send(signal.SIGKILL)
    while any(i.is_alive() for i in left) and time.monotonic() < deadline + 5:
        time.sleep(0.02)
