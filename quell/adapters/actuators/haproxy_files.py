"""HAProxy's files: a reload forgets every runtime change, so each one also goes to the map and server-state files."""

import fcntl
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path


def write_map(file: Path, entries: Callable[[], Mapping[str, str]]) -> None:
    """Write the entries that are in force, keeping the file's comments; readers see the old or the new file whole."""
    with _locked(file):
        old = read_file(file).splitlines()
        comments = [line for line in old if line.startswith("#")]
        _replace(file, "".join(f"{line}\n" for line in [*comments, *(f"{k} {v}" for k, v in entries().items())]))


def write_state(file: Path, state: Callable[[], str]) -> None:
    """Write the answer of `show servers state`, which keeps drain and weight over a reload."""
    with _locked(file):
        _replace(file, state().rstrip("\n") + "\n")


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


@contextmanager
def _locked(file: Path) -> Generator[None]:
    """One writer at a time over all processes; what is written is read inside, so the last one is right."""
    with file.with_name(f".{file.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with fresh.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    if file.exists():
        fresh.chmod(file.stat().st_mode & 0o777)
    fresh.replace(file)
