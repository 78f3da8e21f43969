"""Keeps a handful of processes running: starts them in order, restarts what dies, stops all of them clean."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quell.incidents.errors import Unavailable

_PR_SET_PDEATHSIG = 1
_BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)
_GRACE_SECONDS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process: how to start it, and how to know that it serves."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] = lambda: True
    ready_within_seconds: float = 60.0


@dataclass(slots=True)
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    started: float
    deaths: int = 0
    restart_at: float | None = None


def _child_setup() -> None:
    """In the child: die with the supervisor, and take signals as usual.

    A worker that inherits an ignored SIGINT (started with `&` by a shell) would not end on SIGTERM either.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Supervisor:
    """Start programs with `start`, then call `watch` now and then; `stop` ends everything, last started first."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._running: dict[str, _Running] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, program: Program) -> None:
        """Start and wait until it serves. Raises Unavailable with the end of its log when it does not."""
        running = _Running(program, self._spawn(program), time.monotonic())
        self._running[program.name] = running
        deadline = time.monotonic() + program.ready_within_seconds
        while not program.is_ready():
            code = running.process.poll()
            if code is not None:
                raise Unavailable(f"{program.name} ended with {code} while starting:\n{self._tail(program)}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{program.name} was not ready after {program.ready_within_seconds:.0f} s:\n{self._tail(program)}"
                )
            time.sleep(0.1)

    def watch(self) -> None:
        """Restart what died, with growing pauses; a minute of good running forgets earlier deaths."""
        for name, running in self._running.items():
            code = running.process.poll()
            if code is None:
                if time.monotonic() - running.started > 60:
                    running.deaths = 0
            elif running.restart_at is None:
                pause = _BACKOFF_SECONDS[min(running.deaths, len(_BACKOFF_SECONDS) - 1)]
                running.deaths += 1
                running.restart_at = time.monotonic() + pause
                self._say(f"{name} ended with {code}; starting it again in {pause} s (log: {self._log(name)})")
            elif time.monotonic() >= running.restart_at:
                running.process = self._spawn(running.program)
                running.started, running.restart_at = time.monotonic(), None
                self._say(f"{name} runs again (process {running.process.pid})")

    def states(self) -> list[tuple[str, int, str]]:
        """(name, process id, state) of every program, in order of start."""
        return [
            (name, r.process.pid, "running" if r.process.poll() is None else f"ended with {r.process.poll()}")
            for name, r in self._running.items()
        ]

    def stop(self) -> None:
        """SIGTERM to each, last started first; what a process leaves behind after the grace time is killed."""
        for name in reversed(list(self._running)):
            self.stop_one(name)

    def stop_one(self, name: str) -> None:
        """The same with one program, which is not started again."""
        running = self._running.pop(name)
        family = _descendants(running.process.pid)
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        _end(family)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        with self._log(program.name).open("ab") as log:
            return subprocess.Popen(
                list(program.command),
                env={**os.environ, **program.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_child_setup,
            )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _tail(self, program: Program) -> str:
        lines = self._log(program.name).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-15:])


def _descendants(pid: int) -> list[int]:
    """All processes below `pid`, as /proc knows them now."""
    found: list[int] = []
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(word) for word in child.read_text().split()]
        except OSError:
            continue
        for one in pids:
            found += [one, *_descendants(one)]
    return found


def _end(pids: Sequence[int]) -> None:
    """Give leftovers two seconds after SIGTERM, then SIGKILL."""
    alive = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + 2
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [pid for pid in alive if _signal(pid, 0)]
    for pid in alive:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
