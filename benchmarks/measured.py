"""A measurement in a process of its own, so that its peak memory is its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def measure_in_child(module: str, *arguments: str) -> dict[str, Any]:
    """`python -m MODULE ARGUMENTS` must print one JSON object; errors go to standard error as they are."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def peak_megabytes() -> float:
    """The most memory that this process has held so far.

    Linux' VmHWM: getrusage's ru_maxrss begins with what the parent held when it started this process.
    """
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024.0
