"""Recorded runs of a canary beside its control: every request's time, server, latency and outcome.

`python -m benchmarks.canary_recording FOLDER [--seconds N] [--rate N]`

A real HAProxy with two servers of equal weight, each a process of its own; customers come at random, in an open loop,
and the answer says which server gave it. One run in which both are the same (A/A), and one for each change of
`benchmarks.canary_service`. `shop` is an A/A run of the sandbox's checkout behind the sandbox's own HAProxy: two of its
three instances.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.canary_service import CHANGES
from benchmarks.limited_service import end, wait_for_answer
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.ports import free_port
from deployments.sandbox.sandbox import Sandbox
from deployments.sandbox.trial_proxy import TrialProxy
from deployments.sandbox.wire import Client

SERVERS = ("canary", "control")
_PATIENCE_SECONDS = 5.0
_SETTLE_SECONDS = 3.0
_MORE = """
backend be_canary
  server canary 127.0.0.1:{canary} weight 100
  server control 127.0.0.1:{control} weight 100
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`at` in seconds since the start, `is_canary` which server answered, `seconds` how long it took."""

    name: str
    at: NDArray[np.float64]
    is_canary: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    failed: NDArray[np.bool_]


def load(folder: Path) -> list[Run]:
    """The runs of a folder, in order of their names."""
    return [_read(file) for file in sorted(folder.glob("*.parquet"))]


def _read(file: Path) -> Run:
    frame = pd.read_parquet(file)
    return Run(
        name=file.stem,
        at=frame["at_ms"].to_numpy(np.float64) / 1000,
        is_canary=frame["is_canary"].to_numpy(np.bool_),
        seconds=frame["latency_us"].to_numpy(np.float64) / 1e6,
        failed=frame["failed"].to_numpy(np.bool_),
    )


def save(folder: Path, name: str, rows: list[tuple[float, str, float, bool]], canary: str) -> None:
    rows = sorted(rows)
    frame = pd.DataFrame(
        {
            "at_ms": np.array([row[0] * 1000 for row in rows], dtype=np.uint32),
            "is_canary": [row[1] == canary for row in rows],
            "latency_us": np.array([row[2] * 1e6 for row in rows], dtype=np.uint32) // 10 * 10,
            "failed": [row[3] for row in rows],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / f"{name}.parquet", compression="zstd", index=False)


async def drive(port: int, rate: float, seconds: float) -> list[tuple[float, str, float, bool]]:
    """Customers who come at random at this rate; what each of them saw. The first seconds are left out."""
    client, rows, shots = Client(port), list[tuple[float, str, float, bool]](), set[asyncio.Task[None]]()
    start = time.monotonic() + _SETTLE_SECONDS

    async def shoot() -> None:
        began = time.monotonic()
        try:
            reply = await client.request("GET", "/", timeout_seconds=_PATIENCE_SECONDS)
            name, failed = str(json.loads(reply.body)["instance"]), reply.status != 200
        except (OSError, ValueError, KeyError):
            return  # no server answered, so it counts for none
        if began >= start:
            rows.append((began - start, name, time.monotonic() - began, failed))

    due = time.monotonic()
    while due < start + seconds:
        due += random.expovariate(rate)
        await asyncio.sleep(max(due - time.monotonic(), 0))
        shot = asyncio.create_task(shoot())
        shots.add(shot)
        shot.add_done_callback(shots.discard)
    await asyncio.gather(*shots)
    return rows


@contextmanager
def pair(folder: Path, change: str) -> Iterator[TrialProxy]:
    """HAProxy in front of a canary with this change and of a control without."""
    ports = {name: free_port() for name in SERVERS}
    with ExitStack() as stack:
        for name, port in ports.items():
            command = [sys.executable, "-m", "benchmarks.canary_service", str(port), name]
            process = subprocess.Popen([*command, change if name == "canary" else "none"])
            stack.callback(end, process)
        for port in ports.values():
            wait_for_answer(port)
        yield stack.enter_context(TrialProxy(folder, more=_MORE.format(**ports), route="be_canary"))


def record(folder: Path, seconds: float, rate: float) -> None:
    for change in CHANGES:
        with tempfile.TemporaryDirectory(prefix="quell-canary-") as name, pair(Path(name), change) as proxy:
            save(folder, f"service-{change}", asyncio.run(drive(proxy.port, rate, seconds)), "canary")
    with tempfile.TemporaryDirectory(prefix="quell-canary-") as name:
        with Sandbox(Path(name), find_base_port()) as shop:
            rows = asyncio.run(drive(shop.layout.port("fe_checkout"), rate / 2, seconds))
        save(folder, "shop-none", [row for row in rows if row[1] != "checkout-3"], "checkout-1")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--seconds", type=float, default=90.0, help="length of each run")
    arguments.add_argument("--rate", type=float, default=400.0, help="requests a second, both servers together")
    given = arguments.parse_args()
    record(given.folder, given.seconds, given.rate)
