"""The sandbox's open-loop load generator as a process of its own, and what its customers saw, second by second."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What some customers saw in a stretch of time. `denied` was answered 429, `errors` otherwise badly or never."""

    seconds: float
    sent: int
    ok: int
    denied: int
    errors: int
    latencies_ms: list[float]

    @property
    def p99_ms(self) -> float | None:
        return float(np.percentile(self.latencies_ms, 99)) if self.latencies_ms else None

    @property
    def goodput(self) -> float:
        return self.ok / self.seconds

    @property
    def error_share(self) -> float:
        """Of all answers, refusals included: for who is not limited, a refusal is an error as well."""
        answers = self.ok + self.denied + self.errors
        return (self.denied + self.errors) / answers if answers else 0.0


@dataclass(slots=True)
class Crowd:
    """`begun_at` and all other times are time.time()."""

    process: "subprocess.Popen[str]"
    reports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def send(self, rates: Mapping[str, float]) -> float:
        """Requests per second of each client from now on; when that was."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"rates": rates}) + "\n")
        self.process.stdin.flush()
        return time.time()

    def saw(self, start: float, end: float, *, only: Collection[str] = (), but: Collection[str] = ()) -> Seen:
        """What all clients, or `only` some, saw between two times; reports are of whole seconds."""
        totals = dict.fromkeys(("sent", "ok", "denied", "errors"), 0)
        latencies: list[float] = []
        for report in self.reports:
            if not start < report["at"] - 0.5 <= end:
                continue
            for client, tally in report["clients"].items():
                if client in but or (only and client not in only):
                    continue
                for name in totals:
                    totals[name] += tally[name]
                latencies += tally["latencies_ms"]
        return Seen(seconds=end - start, latencies_ms=latencies, **totals)


@contextmanager
def crowd(port: int) -> Iterator[Crowd]:
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.sandbox.load", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Crowd(process)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            made.reports.append(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=20)
        reader.join()
