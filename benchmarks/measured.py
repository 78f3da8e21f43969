"""A measurement in a process of its own, so that its peak memory is its own."""

import json
import resource
import subprocess
import sys
from typing import Any


def measure_in_child(module: str, *arguments: str) -> dict[str, Any]:
    """`python -m MODULE ARGUMENTS` must print one JSON object; errors go to standard error as they are."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def peak_megabytes() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
