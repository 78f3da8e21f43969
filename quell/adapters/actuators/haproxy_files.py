"""HAProxy's files: a reload forgets every runtime change, so each one also goes to the map and server-state files."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_SECONDS = 2.0  # a write takes milliseconds: who holds the lock for longer is stopped, and may be so for hours
_LOOK_SECONDS = 0.01


def write_map(file: Path, entries: Callable[[], Mapping[str, str]]) -> None:
    """Write the entries that are in force, keeping the file's comments; readers see the old or the new file whole."""

    def text() -> str:
        comments = [line for line in read_file(file).splitlines() if line.startswith("#")]
        return "".join(f"{line}\n" for line in [*comments, *(f"{key} {value}" for key, value in entries().items())])

    _write(file, text)


def write_state(file: Path, state: Callable[[], str]) -> None:
    """Write the answer of `show servers state`, which keeps drain and weight over a reload."""
    _write(file, lambda: state().rstrip("\n") + "\n")


def write_text(file: Path, text: Callable[[], str]) -> None:
    """Write a whole file, comments and all; readers see the old or the new one."""
    _write(file, text)


def read_map(file: Path) -> Mapping[str, str]:
    """Key -> value as a reload would load them; a missing file holds nothing."""
    lines = [line.split(None, 1) for line in read_file(file).splitlines() if line.strip() and line[0] != "#"]
    return {parts[0]: parts[1].strip() if len(parts) > 1 else "" for parts in lines}


def read_file(file: Path) -> str:
    """The text of a file that may not have been written yet."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def _write(file: Path, text: Callable[[], str]) -> None:
    """Write what is in force; who was stopped and so lost the lock writes again, what is in force by then."""
    is_last = False
    while not is_last:
        with _locked(file) as is_still_ours:
            _replace(file, text())
            is_last = is_still_ours()


@contextmanager
def _locked(file: Path) -> Generator[Callable[[], bool]]:
    """One writer at a time over all processes; what is written is read inside, so the last one is right.

    A holder that is stopped (SIGSTOP, a frozen container) must not keep others from an undo: after a while its lock
    is taken away, and the function that this yields tells it so.
    """
    path = file.with_name(f".{file.name}.lock")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with path.open("a") as lock:
            if _is_taken(lock.fileno()):
                if _is_at(lock.fileno(), path):
                    yield lambda: _is_at(lock.fileno(), path)
                    return
            elif time.monotonic() > deadline and _is_at(lock.fileno(), path):
                path.unlink(missing_ok=True)
                continue
        time.sleep(_LOOK_SECONDS)


def _is_taken(lock: int) -> bool:
    """Whether the lock is ours now; never waits."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    """Whether the open file is still the one that others find under this name."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    with fresh.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    if file.exists():
        fresh.chmod(file.stat().st_mode & 0o777)
    fresh.replace(file)
