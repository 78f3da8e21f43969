"""The replay: a clock that follows the recording, and what happens meanwhile: events arrive, sweeps run."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from deployments.demo.account import Account, StepMissing
from deployments.demo.recorded import RecordedHAProxy, RecordedMetrics, Recording, inbox_items
from deployments.sandbox.credentials import write_secrets
from deployments.sandbox.files import render_config
from deployments.sandbox.layout import Layout
from quell.adapters.store.sql import SqlStore
from quell.config.load import load_config
from tasks.detection import close_sweep, judge_shard, plan_shards
from tasks.intake import drain_inbox
from tasks.resources import Resources

T = TypeVar("T")
_READING_SECONDS = 0.25  # a person reads along


@dataclass(slots=True)
class Replay:
    """`now` is the recorded time; `speed` is recorded seconds per real one. Only `run_until` lets time pass."""

    recording: Recording
    speed: float
    now: datetime = field(init=False)
    res: Resources = field(init=False)
    _next_sweep: datetime = field(init=False)
    _due: float = field(init=False)  # when, really, `now` is due: computing and reading count into the pace
    _coming: deque[tuple[datetime, str, Mapping[str, Any]]] = field(init=False)

    def __post_init__(self) -> None:
        self.now = self._next_sweep = self.recording.began
        self._coming = deque(self.recording.came_in)
        self._due = time.monotonic()

    def open(self, layout: Layout) -> Resources:
        """The example's configuration and an empty store in the layout's folder, over the recorded world."""
        _write_files(layout)
        config = load_config(layout.config)
        folder = self.recording.folder
        haproxy = RecordedHAProxy(folder, self.clock, self.run_until)
        self.res = Resources(
            config=config,
            store=SqlStore(config.connections.store),
            metrics=RecordedMetrics(folder, config.signals, self.clock),
            actuators={haproxy.name: haproxy},
            clock=self.clock,
        )
        return self.res

    def clock(self) -> datetime:
        return self.now

    def run_until(self, moment: datetime) -> None:
        """Let the recorded time pass; what was recorded in between happens, in order."""
        while self.now < moment:
            arrival = self._coming[0][0] if self._coming else moment
            at = max(min(arrival, self._next_sweep, moment), self.now)
            self._due += (at - self.now).total_seconds() / self.speed
            time.sleep(max(self._due - time.monotonic(), 0))
            self.now = at
            self._receive()
            if at >= self._next_sweep:
                self._sweep()

    def run(self, seconds: float) -> None:
        """Also what tasks take for `sleep`."""
        self.run_until(self.now + timedelta(seconds=seconds))

    def _receive(self) -> None:
        while self._coming and self._coming[0][0] <= self.now:
            at, path, body = self._coming.popleft()
            self.res.store.receive(inbox_items(path, body, at))
            drain_inbox(self.res)

    def _sweep(self) -> None:
        self._next_sweep = self.now + self.res.config.intervals.sweep
        shards = [judge_shard(self.res, names, self.now) for names in plan_shards(self.res, self.now)]
        close_sweep(self.res, self.now, shards, seconds=0.0)
        drain_inbox(self.res)


class ReplayAccount(Account):
    """The account in recorded time: lines carry it, and waiting lets it pass."""

    def __init__(self, account: Account, replay: Replay) -> None:
        super().__init__()
        self.console = account.console
        self._replay = replay

    def say(self, text: str) -> None:
        passed = (self._replay.now - self._replay.recording.began).total_seconds()
        self.console.print(f"[dim]{passed:6.1f} s[/dim]  {text}")
        time.sleep(_READING_SECONDS if self._replay.speed < float("inf") else 0)

    def wait_for(self, what: str, ask: Callable[[], T | None], *, within: float, every: float = 1.0) -> T:
        """Ask while recorded time passes; both limits are recorded seconds."""
        deadline = min(self._replay.now + timedelta(seconds=within), self._replay.recording.ended)
        while True:
            answer = ask()
            if answer is not None and answer is not False:
                return answer
            if self._replay.now >= deadline:
                raise StepMissing(f"{what}: not within {within:.0f} s of the recording, or before its end")
            self._replay.run(every)


def _write_files(layout: Layout) -> None:
    for folder in (layout.config, layout.haproxy / "maps"):
        folder.mkdir(parents=True, exist_ok=True)
    write_secrets(layout.secrets)
    render_config(layout)
