"""Starts and stops a sandbox shop in a folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deployments.sandbox.files import remove_files, write_files
from deployments.sandbox.layout import DEFAULT_BASE_PORT, Layout, is_sandbox
from deployments.sandbox.ports import is_free
from deployments.sandbox.processes import Identity, identify, stop_all
from deployments.sandbox.programs import program_environment, require_programs
from deployments.sandbox.supervisor import control
from quell.incidents.errors import Conflict, InvalidInput, QuellError, Unavailable

_UP_SECONDS = 30.0


class Sandbox:
    """One shop: `up`, `down`, and its control API. As a context manager it is up inside the block.

    Unless started detached, it goes down with the process that called `up`, however that ends.
    """

    def __init__(self, folder: Path, base_port: int = DEFAULT_BASE_PORT, gateway_url: str | None = None) -> None:
        self.layout = Layout(folder=Path(folder).resolve(), base_port=base_port, gateway_url=gateway_url or "")
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The sandbox that an earlier `up` made in the folder. Raises NotFound."""
        layout = Layout.load(folder)
        return cls(layout.folder, layout.base_port, layout.gateway_url)

    @property
    def config_folder(self) -> Path:
        return self.layout.config

    # Life

    def up(self, *, detached: bool = False, fresh: bool = False) -> None:
        """Start the shop and return when requests flow; `fresh` forgets what the folder held before.

        Raises Conflict (already up, or a port is taken), Unavailable (a program is missing or does not start) and
        InvalidInput (the folder holds something else).
        """
        require_programs()
        self._check_free()
        self._check_folder()
        if fresh:
            remove_files(self.layout)
        self.layout.save()
        write_files(self.layout, now=datetime.now(UTC))
        for stale in (*self.layout.haproxy.glob("*.sock*"), *self.layout.run.glob("*")):
            stale.unlink()
        self._start_supervisor(detached=detached)
        try:
            self._wait_until_ready()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop every process of the shop; nothing happens when it is down already. The files stay."""
        supervisor = self._read_supervisor()
        children = self._read_children()
        if supervisor is not None:
            stop_all([supervisor], grace_seconds=8)
        stop_all([*children, *self._read_children()])
        if self._supervisor is not None:
            self._supervisor.wait()
            self._supervisor = None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        shutil.rmtree(self.layout.run, ignore_errors=True)

    def is_up(self) -> bool:
        supervisor = self._read_supervisor()
        return supervisor is not None and supervisor.is_alive()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    # Trouble and load, over the control API

    def inject(self, fault: str, **params: str | float | bool) -> dict[str, Any]:
        """Raises InvalidInput naming parameter, value and limit."""
        return control(self.layout, "POST", f"/faults/{fault}", params)

    def clear(self, fault: str, target: str = "") -> int:
        """Clear the fault, on one target or all; returns how many were in force."""
        return int(control(self.layout, "DELETE", f"/faults/{fault}?target={target}")["cleared"])

    def faults(self) -> list[dict[str, Any]]:
        return list(control(self.layout, "GET", "/faults")["active"])

    def load_seen(self, seconds: int = 5) -> dict[str, Any]:
        """What the customers saw in the last seconds: `total` and `clients`."""
        return control(self.layout, "GET", f"/load?seconds={seconds}")

    def state(self) -> dict[str, Any]:
        return control(self.layout, "GET", "/state")

    # Inside

    def _check_free(self) -> None:
        if self.is_up():
            raise Conflict(f"sandbox in {self.layout.folder} is already up; take it down first")
        taken = [f"{port} ({name})" for name, port in self.layout.ports() if not is_free(port)]
        if taken:
            raise Conflict(
                f"port taken: {', '.join(taken)}; stop what listens there or choose another base port than "
                f"{self.layout.base_port}"
            )

    def _check_folder(self) -> None:
        folder = self.layout.folder
        if folder.exists() and not is_sandbox(folder) and any(folder.iterdir()):
            raise InvalidInput(f"folder {folder} is not empty and holds no sandbox; choose another one")

    def _start_supervisor(self, *, detached: bool) -> None:
        argv = [sys.executable, "-m", "deployments.sandbox.supervisor", str(self.layout.folder)]
        kept: tuple[int, ...] = ()
        if not detached:
            reading, self._lifeline = os.pipe()
            kept = (reading,)
            argv.append(str(reading))
        with (self.layout.logs / "supervisor.log").open("wb") as log:
            self._supervisor = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=program_environment(),
                start_new_session=True,  # Ctrl-C in a terminal reaches the owner, who takes it down in order
                pass_fds=kept,
            )
        for descriptor in kept:
            os.close(descriptor)
        identity = identify(self._supervisor.pid)
        if identity is not None:
            (self.layout.run / "supervisor.json").write_text(json.dumps([identity.pid, identity.started]))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        while time.monotonic() < deadline:
            if self._supervisor is None or self._supervisor.poll() is not None:
                log = (self.layout.logs / "supervisor.log").read_text(errors="replace").strip()
                raise Unavailable(f"sandbox did not start: {log.splitlines()[-1] if log else 'no output'}")
            with suppress(QuellError):
                if self.state()["ready"]:
                    return
            time.sleep(0.05)
        raise Unavailable(f"sandbox was not ready within {_UP_SECONDS:.0f} s; see {self.layout.logs}")

    def _read_supervisor(self) -> Identity | None:
        found = _read_json(self.layout.run / "supervisor.json")
        return Identity(pid=found[0], started=found[1]) if found else None

    def _read_children(self) -> list[Identity]:
        found = _read_json(self.layout.run / "children.json") or {}
        return [Identity(pid=pid, started=started) for pid, started in found.values()]


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
