"""The garbage collector of Prefect's server: a cursor that dies while its connection waits for SQLite's lock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_WAIT_SECONDS = 6.0  # what the connection waits for the lock; Prefect's waits 60

# An event loop beside a thread whose connection waits for the lock. A cursor of that connection is garbage, in a cycle.
_SCRIPT = f"""
import asyncio, gc, json, sqlite3, sys, threading, time

if sys.argv[2] == "thread":
    from deployments.prefect_process import collect_in_a_thread
    collect_in_a_thread(young_seconds=0.1, all_seconds=0.2)

class Cycle:
    pass

def connection():
    return sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False, timeout={_WAIT_SECONDS})

holder, waiter = connection(), connection()
holder.execute("CREATE TABLE t (x)")
lost = Cycle()
lost.itself, lost.cursor = lost, waiter.execute("SELECT 1 UNION ALL SELECT 2")
lost.cursor.fetchone()
holder.execute("BEGIN IMMEDIATE")
freed = []

def write():
    try:
        waiter.execute("INSERT INTO t VALUES (10)")
    except sqlite3.OperationalError:
        pass

async def run():
    global lost
    thread = threading.Thread(target=write)
    thread.start()
    await asyncio.sleep(0.5)
    lost = None
    longest = 0.0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        before = time.monotonic()
        garbage = [[] for _ in range(20_000)]  # enough for the collector's thresholds
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)
    holder.execute("COMMIT")
    thread.join()
    print(json.dumps({{"longest": longest, "collects_here": gc.isenabled()}}))

if sys.argv[2] != "thread":
    gc.set_threshold(700, 1, 1)
asyncio.run(run())
"""


def longest_pause(folder: Path, way: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder / f"{way}.db"), way],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["collects_here"] is (way == "anywhere")
    return said["longest"]


@pytest.mark.parametrize(("way", "stands_still"), [("anywhere", True), ("thread", False)])
def test_a_dead_cursor_of_a_waiting_connection_stops_only_who_collects_it(
    tmp_path: Path, way: str, stands_still: bool
) -> None:
    assert (longest_pause(tmp_path, way) > _WAIT_SECONDS / 2) is stands_still
