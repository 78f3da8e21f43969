"""Record the demo's incident on a real shop: `python -m deployments.demo.record --out deployments/demo/recording`.

Kept are each signal as Prometheus answered it, second by second; what arrived at Quell's door (webhooks, change
events, reports) with its time; and what HAProxy's levers read, second by second. Quell itself does not run here: this
script pulls the levers through Quell's own actuator. In the replay Quell decides for itself, and what it decides is
held against what HAProxy really did.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deployments.demo.recorded import EVENTS, LEVERS
from deployments.sandbox.credentials import credentials
from deployments.sandbox.deploy import announce, exchange
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.repository import last_commit
from deployments.sandbox.sandbox import Sandbox
from quell.config.load import load_config
from quell.incidents.mitigation import Step
from tasks.resources import Resources, open_resources

INSTANCE, CLIENT = "checkout-2", "batch-importer"
ISOLATE = Step(actuator="haproxy", action="isolate", target=f"be_checkout/{INSTANCE}")
THROTTLE = Step(actuator="haproxy", action="throttle", target=f"client:{CLIENT}", params={"requests_per_second": 20})
REPORTS = ("checkout says internal error when I pay", "I cannot pay, checkout fails every third time")
_WARM_UP_SECONDS, _CALM_SECONDS = 12, 90
_UNTIL_DRAINED_SECONDS, _DRAINED_SECONDS = 38, 35
_UNTIL_RELEASED_SECONDS, _AFTER_SECONDS = 12, 33
_UNTIL_LIMITED_SECONDS, _LIMITED_SECONDS, _LAST_SECONDS = 1.5, 35, 15
_MACHINE = ("externalURL", "generatorURL", "url")  # addresses of the machine that recorded mean nothing elsewhere


@dataclass(slots=True)
class Tape:
    """What has been recorded so far; filled by several threads."""

    came_in: list[dict[str, Any]] = field(default_factory=list)
    levers: list[dict[str, float]] = field(default_factory=list)
    moments: dict[str, str] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        self.moments[name] = datetime.now(UTC).isoformat()
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", flush=True)

    def has_alert(self, name: str) -> bool:
        return any(
            alert["labels"]["alertname"] == name and alert["status"] == "firing"
            for event in list(self.came_in)
            for alert in event["body"].get("alerts", [])
        )


def open_door(tape: Tape, port: int) -> ThreadingHTTPServer:
    """Listen where Quell's gateway would, and keep what is posted."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tape.came_in.append({"at": datetime.now(UTC).isoformat(), "path": self.path, "body": _strip(body)})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - the library's signature
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def watch_levers(tape: Tape, res: Resources, stopping: threading.Event) -> None:
    """Once a second: each server's serving share, and the client's limit (NaN without one)."""
    haproxy = res.actuators["haproxy"]
    servers = [i.server for service in res.config.catalog.services.values() for i in service.instances if i.server]
    while not stopping.wait(1 - time.time() % 1):
        limit = haproxy.read_state(THROTTLE).get("value")
        row = {"timestamp": float(int(time.time())), **haproxy.capacity(servers)}
        tape.levers.append({**row, THROTTLE.target: float(limit) if limit else np.nan})


def perform(tape: Tape, res: Resources, sandbox: Sandbox) -> None:
    """The incident itself, on a fixed schedule."""
    haproxy, door = res.actuators["haproxy"], sandbox.layout.gateway_url
    time.sleep(_CALM_SECONDS)
    tape.mark("bad configuration")
    sandbox.inject("bad-config", instance=INSTANCE)
    time.sleep(1)
    for text in REPORTS:
        report = {"text": text, "service": "checkout", "reporter": "a customer"}
        desk = credentials(sandbox.layout.secrets, "support-desk")
        exchange("POST", f"{door}/api/v1/reports", report, headers=desk)
    time.sleep(_UNTIL_DRAINED_SECONDS)
    before = haproxy.read_state(ISOLATE)
    haproxy.apply(ISOLATE)
    tape.mark("isolated")
    time.sleep(_DRAINED_SECONDS)
    sandbox.clear("bad-config")
    announce(sandbox.layout, INSTANCE, last_commit(sandbox.layout.settings_file(INSTANCE)))
    tape.mark("reverted")
    time.sleep(_UNTIL_RELEASED_SECONDS)
    haproxy.undo(ISOLATE, before)
    tape.mark("released")
    time.sleep(_AFTER_SECONDS)
    tape.mark("noisy client")
    sandbox.inject("noisy-client", client=CLIENT)
    _wait(lambda: tape.has_alert("NoisyClient"), within=30)
    time.sleep(_UNTIL_LIMITED_SECONDS)
    haproxy.apply(THROTTLE)
    tape.mark("limited")
    time.sleep(_LIMITED_SECONDS)
    sandbox.clear("noisy-client")
    tape.mark("client is calm")
    time.sleep(3)
    haproxy.undo(THROTTLE, {})
    tape.mark("limit removed")
    time.sleep(_LAST_SECONDS)


def save(tape: Tape, res: Resources, out: Path, began: datetime) -> None:
    """Write the tape; the folder's earlier recording is replaced."""
    ended = datetime.now(UTC).replace(microsecond=0)
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.parquet"), *out.glob("*.json")):
        old.unlink()
    for name, signal in res.config.signals.items():
        matrix = res.metrics.range(signal.query, start=began, end=ended, step=timedelta(seconds=1))
        columns = [json.dumps(dict(labels), sort_keys=True) for labels in matrix.labels]
        table = pd.DataFrame(np.round(matrix.values, 4).astype(np.float32), columns=columns)
        table.insert(0, "timestamp", matrix.timestamps.astype(np.int64))
        table.to_parquet(out / f"{name}.parquet", compression="zstd", index=False)
    pd.DataFrame(tape.levers).to_parquet(out / f"{LEVERS}.parquet", compression="zstd", index=False)
    body = {"began": began.isoformat(), "ended": ended.isoformat(), "moments": tape.moments, "came_in": tape.came_in}
    (out / EVENTS).write_text(json.dumps(body, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "recording")
    out = parser.parse_args().out
    folder, tape, stopping = Path(tempfile.mkdtemp(prefix="quell-record-")), Tape(), threading.Event()
    sandbox = Sandbox(folder / "shop", base_port=find_base_port())
    door = open_door(tape, sandbox.layout.base_port + 60)
    try:
        with sandbox:
            res = open_resources(load_config(sandbox.config_folder))
            time.sleep(_WARM_UP_SECONDS)
            began = datetime.now(UTC).replace(microsecond=0)
            watcher = threading.Thread(target=watch_levers, args=(tape, res, stopping))
            watcher.start()
            try:
                _wait(lambda: bool(tape.levers), within=5)
                perform(tape, res, sandbox)
            finally:
                stopping.set()
                watcher.join()
            save(tape, res, out, began)
            res.store.close()
    finally:
        door.shutdown()
        door.server_close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(file.stat().st_size for file in out.iterdir()) / 1000:.0f} kB in {out}")


def _strip(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strip(part) for key, part in value.items() if key not in _MACHINE}
    return [_strip(part) for part in value] if isinstance(value, list) else value


def _wait(ask: Callable[[], bool], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not ask():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {within:.0f} s; record again")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
