"""One Quell at a time changes a repository, and first puts right what a dead one left there.

A program that is killed in the middle of `git` leaves git's lock files, which stop everybody, and perhaps half of a
merge in the working tree. So each change is noted in `quell-turn` before it begins, under a lock of the operating
system that the git process shares: it is free only when both are gone. Who finds a note there knows that the change
was cut off, and mends it. Locks of people are left alone.
"""

import fcntl
import json
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from quell.incidents.errors import InvalidInput, Unavailable

NOTE = "quell-turn"
_POLL_SECONDS = 0.05
_CLOCK_SLACK_SECONDS = 2.0  # file systems round times
_OLD_SECONDS = 600.0  # where it cannot be seen who runs, a lock this old counts as left over


@contextmanager
def turn(common: Path, wait: timedelta) -> Generator[int]:
    """The right to change the repository whose git folder this is; the descriptor is for the process that changes it.

    Raises Unavailable when another Quell keeps it for longer than `wait`, InvalidInput where nothing may be written.
    """
    try:
        descriptor = os.open(common / NOTE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(f"repository {common} cannot be changed: {error}") from error
    try:
        give_up = time.monotonic() + wait.total_seconds()
        while not _take(descriptor):
            if time.monotonic() >= give_up:
                limit = f"{wait.total_seconds():g} s"
                raise Unavailable(f"repository {common} has been changed by another quell for longer than {limit}")
            time.sleep(_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def is_noted(common: Path) -> bool:
    """Whether somebody is changing the repository, or died while he did."""
    stat = _stat(common / NOTE)
    return stat is not None and stat.st_size > 0


def read_note(descriptor: int) -> Mapping[str, Any] | None:
    """What a process that died here was about; None when nobody did."""
    text = os.pread(descriptor, 10_000, 0)
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:  # it died while it wrote: git had not begun
        return {}


def write_note(descriptor: int, note: Mapping[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"at": time.time(), **note}).encode(), 0)
    os.fsync(descriptor)


def clear_note(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)


def remove_left_locks(common: Path, since: float) -> None:
    """Remove git's lock files that were made since then. Raises Unavailable while a git may still be using them."""
    found = {path: stat.st_ino for path in _locks(common) if (stat := _stat(path)) and _is_of(stat.st_mtime, since)}
    if not found:
        return
    in_use = _is_git_at_work(common)  # asked after they were found: who made one is alive and seen, or dead
    for path, inode in found.items():
        stat = _stat(path)
        if stat is None or stat.st_ino != inode:
            continue
        if in_use or (in_use is None and time.time() - stat.st_mtime < _OLD_SECONDS):
            raise Unavailable(f"{path} may be left over, or be in use by the git that works there; try again")
        path.unlink(missing_ok=True)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locks(common: Path) -> Iterator[Path]:
    """Also the new packed-refs, which git begins only where there is none: one that is left stops all removals."""
    yield from common.glob("*.lock")
    yield from common.glob("packed-refs.new")
    yield from (common / "refs").rglob("*.lock")
    yield from (common / "worktrees").glob("*/*.lock")


def _is_of(made_at: float, since: float) -> bool:
    return made_at >= since - _CLOCK_SLACK_SECONDS


def _stat(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def _is_git_at_work(common: Path) -> bool | None:
    """Whether a git process runs in the repository, as far as that can be seen; None when it cannot."""
    places = (common, common.parent) if common.name == ".git" else (common,)
    seen = False
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if not (process / "comm").read_text().startswith("git"):
                continue
            if (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            try:
                folder = (process / "cwd").readlink()
            except PermissionError:  # another user's
                seen = True
                continue
            if any(folder.is_relative_to(place) for place in places):
                return True
    return None if seen or not Path("/proc/self/cwd").exists() else False
