"""A process that is stopped while it writes HAProxy's files keeps nobody from an undo, and does no harm when awake."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quell.adapters.actuators.haproxy_files import read_map, write_map
from tests.waiting import wait_until

pytestmark = pytest.mark.fault

# It reads what is in force from a file, as an actuator asks HAProxy, and is stopped between reading and writing.
WRITER = """
import os, signal, sys
from pathlib import Path
from quell.adapters.actuators.haproxy_files import write_map
in_force, map, stops = Path(sys.argv[1]), Path(sys.argv[2]), [signal.SIGSTOP]
def entries():
    seen = dict(line.split() for line in in_force.read_text().splitlines())
    if stops:
        os.kill(os.getpid(), stops.pop())
    return seen
write_map(map, entries)
"""


def test_a_stopped_writer_is_passed_by_and_writes_what_is_in_force_when_awake(tmp_path: Path) -> None:
    in_force, file = tmp_path / "in_force", tmp_path / "limits.map"
    file.write_text("# limits of clients\n")
    in_force.write_text("flooder 20\n")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(in_force), str(file)])
    try:
        _wait_until_stopped(writer.pid)
        in_force.write_text("other 5\n")
        began = time.monotonic()
        write_map(file, lambda: {"other": "5"})
        assert time.monotonic() - began < 10, "nobody waits for who is stopped"
        assert read_map(file) == {"other": "5"}
    finally:
        os.kill(writer.pid, signal.SIGCONT)
    assert writer.wait(timeout=30) == 0
    assert read_map(file) == {"other": "5"}, "what it read before it was stopped is not put back"
    assert file.read_text().startswith("# limits of clients\n")


def _wait_until_stopped(pid: int) -> None:
    stat = Path(f"/proc/{pid}/stat")
    wait_until("the writer is stopped", lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", every=0.02)
