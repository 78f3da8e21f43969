"""Alerts a second into the gateway, durable, beside the real Alertmanager, with the same client on the same cores.

The gateway is the process that `quell up` starts, on SQLite (synchronous=FULL) and on PostgreSQL; it answers when the
alerts are committed. Alertmanager keeps alerts in memory and answers when it has them there. Both take the same bodies
at /api/v2/alerts, first 64 alerts a request and then one, over keep-alive connections as fast as they answer; then at
half of the rate that each reached, for the time to the answer. The rounds are interleaved, the median is shown.

With --kills N the gateway and the drainer are killed at random moments under load instead, on both databases.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.postgres import throwaway_postgres
from benchmarks.report import parser, print_json, print_table
from deployments.sandbox.ports import free_port
from quell.gateway.senders import hash_token

SIZES = {64: 4000, 1: 40000}  # alerts a request: requests made ready for each run
TOKEN = "a-token-of-the-benchmark-only"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--connections", type=int, default=16)
    made.add_argument("--only", nargs="+", choices=("alertmanager", "sqlite", "postgresql"))
    made.add_argument("--kills", type=int, default=0, metavar="N", help="kill -9 N times on each database instead")
    options = made.parse_args()
    if options.kills:
        from benchmarks.intake_kills import kill_report

        kill_report(options.kills, as_json=options.json)
        return
    figures = measure(options)
    if options.json:
        print_json(figures)
    else:
        _print(figures)


def measure(options: Any) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quell-intake-")))
        folder.chmod(0o755)
        wanted = options.only or ["alertmanager", "sqlite", "postgresql"]
        targets: dict[str, int] = {}
        if "alertmanager" in wanted:
            targets["alertmanager"] = stack.enter_context(alertmanager(folder / "am"))
        if "sqlite" in wanted:
            targets["sqlite"] = stack.enter_context(gateway(folder / "lite", f"sqlite:///{folder}/lite/quell.db"))
        if "postgresql" in wanted:
            url = stack.enter_context(throwaway_postgres(durable=True))
            targets["postgresql"] = stack.enter_context(gateway(folder / "post", url))
        return {f"{size}_a_request": _side_by_side(targets, size, options) for size in SIZES}


def _side_by_side(targets: Mapping[str, int], size: int, options: Any) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in targets}
    first = 0
    for _ in range(options.rounds):
        for name, port in targets.items():
            found = run(port, size, options, first=first)
            rates[name].append(found["requests"] * size / found["seconds"])
            first += 10_000_000
    figures: dict[str, Any] = {}
    for name, port in targets.items():
        rate = median(rates[name])
        calm = run(port, size, options, first=first, rate=rate / size / 2)
        first += 10_000_000
        figures[name] = {
            "alerts_per_second": rate,
            "half_load_p50_ms": calm["p50_ms"],
            "half_load_p99_ms": calm["p99_ms"],
        }
    for name in figures:
        if "alertmanager" in figures:
            figures[name]["ratio"] = figures[name]["alerts_per_second"] / figures["alertmanager"]["alerts_per_second"]
    return figures


def run(port: int, size: int, options: Any, *, first: int, rate: float = 0.0) -> dict[str, Any]:
    """One run of the client. Every answer must be a 200."""
    job = {
        "host": "127.0.0.1",
        "port": port,
        "path": "/api/v2/alerts",
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "connections": options.connections,
        "requests": SIZES[size] // options.connections,
        "alerts": size,
        "first": first,
        "seconds": options.seconds,
        "rate": rate,
    }
    command = [sys.executable, "-m", "benchmarks.http_load"]
    done = subprocess.run(command, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    if set(found["statuses"]) != {"200"}:
        raise SystemExit(f"error: answers were {found['statuses']}")
    return found


@contextmanager
def gateway(folder: Path, store: str) -> Iterator[int]:
    """The port of a gateway on a configuration of its own."""
    with gateway_process(folder, store) as (port, _):
        yield port


@contextmanager
def gateway_process(folder: Path, store: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """A gateway's port and process."""
    port = free_port()
    folder.mkdir()
    (folder / "quell.toml").write_text(
        f'[connections]\nstore = "{store}"\nprometheus = "http://127.0.0.1:9"\ngateway_port = {port}\n'
    )
    (folder / "services.yaml").write_text("services: {shop: {team: shop}}\n")
    (folder / "signals.yaml").write_text("signals: {up: {query: up, kind: error_ratio, unit: ratio, step: 15s}}\n")
    token = f"sources: {{bench: {{may_send: [alerts], tokens: ['{hash_token(TOKEN)}']}}}}\n"
    (folder / "sources.yaml").write_text(token)
    command = [sys.executable, "-m", "deployments.gateway"]
    with started(command, f"http://127.0.0.1:{port}/readyz", {"QUELL_CONFIG": str(folder)}) as process:
        yield port, process


@contextmanager
def alertmanager(folder: Path) -> Iterator[int]:
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        raise SystemExit("error: alertmanager is not installed")
    folder.mkdir()
    (folder / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = free_port()
    flags = [f"--config.file={folder}/am.yml", f"--storage.path={folder}", "--cluster.listen-address="]
    flags += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with started([program, *flags], f"http://127.0.0.1:{port}/-/ready", {}):
        yield port


@contextmanager
def started(command: list[str], ready: str, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"error: {command[0]} did not start")
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _print(figures: Mapping[str, Any]) -> None:
    columns = ("", "alerts/s", "beside Alertmanager", "p50 ms at half load", "p99 ms at half load")
    for title, parts in figures.items():
        rows = [
            (name, round(f["alerts_per_second"]), f.get("ratio"), f["half_load_p50_ms"], f["half_load_p99_ms"])
            for name, f in parts.items()
        ]
        print_table(title.replace("_", " "), columns, rows)


if __name__ == "__main__":
    main()
