"""The Debian programs that the shop runs, and how to get them."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from quell.incidents.errors import Unavailable

HAPROXY, PROMETHEUS, ALERTMANAGER, GIT = "haproxy", "prometheus", "prometheus-alertmanager", "git"
_PACKAGES: Mapping[str, str] = {name: name for name in (HAPROXY, PROMETHEUS, ALERTMANAGER, GIT)}
_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian keeps haproxy; not on every user's PATH


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"


def find_program(name: str) -> str:
    """The program's full path. Raises Unavailable that says what to install."""
    require_programs([name])
    return shutil.which(name, path=_path()) or name


def require_programs(names: list[str] | None = None) -> None:
    """Raises Unavailable naming every program that is not installed."""
    missing = [name for name in names or _PACKAGES if shutil.which(name, path=_path()) is None]
    if missing:
        packages = " ".join(_PACKAGES[name] for name in missing)
        raise Unavailable(
            f"program missing: {', '.join(missing)}; run deployments/install-debian.sh or apt-get install {packages}"
        )


def program_environment() -> dict[str, str]:
    """What children get: our own environment, and this source tree importable from any folder."""
    tree = str(Path(__file__).resolve().parents[2])
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**os.environ, "PATH": _path(), "PYTHONPATH": os.pathsep.join([tree, *others]), "PYTHONUNBUFFERED": "1"}
