"""A real Alertmanager that notifies nobody."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployments.sandbox.ports import free_port
from tests.waiting import wait_until


@contextmanager
def alertmanager_server(folder: Path) -> Iterator[str]:
    """Its address; it keeps its files in the folder."""
    program = shutil.which("prometheus-alertmanager")
    assert program, "prometheus-alertmanager is not installed"
    (folder / "config.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    flags = [f"--config.file={folder / 'config.yml'}", f"--storage.path={folder}", "--cluster.listen-address="]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *flags, f"--web.listen-address={url[7:]}"], stdout=log, stderr=log)
    try:
        ready = f"{url}/-/ready"
        wait_until("alertmanager is ready", lambda: httpx.get(ready, trust_env=False).is_success, within=20)
        yield url
    finally:
        process.terminate()
        process.wait(20)
