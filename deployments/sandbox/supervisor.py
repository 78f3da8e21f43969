"""The process that runs the shop: starts its programs, serves the control API, and ends everything when it ends.

`supervisor DIR [LIFELINE]`; LIFELINE is a pipe's file descriptor whose other end the owner holds: when the owner dies,
however it dies, the pipe closes and the shop goes down.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployments.sandbox.deploy import exchange
from deployments.sandbox.faults import FAULTS, ActiveFaults
from deployments.sandbox.layout import Layout
from deployments.sandbox.load import DEFAULT_RATES
from deployments.sandbox.processes import Identity, identify, start_child, stop_all
from deployments.sandbox.programs import ALERTMANAGER, HAPROXY, PROMETHEUS, find_program, program_environment
from deployments.sandbox.report import LoadReport
from deployments.sandbox.wire import Client, Request, Response, json_response, serve
from quell.incidents.errors import InvalidInput, NotFound, QuellError, Unavailable

_READY_SECONDS = 20.0


class Supervisor:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = program_environment()
        self._report = LoadReport()
        self._faults = ActiveFaults(self)
        self._rates: dict[str, float] = dict(DEFAULT_RATES)
        self._surge = 1.0
        self._is_ready = False
        self._unread = b""

    # What faults may do (the Shop protocol)

    def kill(self, instance: str) -> None:
        child = self._children[self.layout.instance(instance).name]
        child.kill()
        child.wait()
        self._write_pids()

    async def restart(self, instance: str) -> None:
        if self._children[instance].poll() is not None:
            self._start_instance(instance)
        await self._wait_for(instance, "/health")

    def set_surge(self, factor: float) -> None:
        self._surge = factor
        self._send_rates()

    def set_client(self, client: str, rate: float) -> None:
        if client in DEFAULT_RATES:
            raise InvalidInput(f"client {client} belongs to the usual load; choose another name")
        self._rates[client] = rate
        if not rate:
            del self._rates[client]
        self._send_rates()

    async def expire_faults(self) -> None:
        await self._faults.expire()

    # Starting and stopping

    def _start(self, name: str, argv: Sequence[str], *, with_pipes: bool = False) -> subprocess.Popen[bytes]:
        log = self.layout.logs / f"{name}.log"
        child = start_child(argv, log=log, environment=self._environment, with_pipes=with_pipes)
        self._children[name] = child
        self._write_pids()
        return child

    def _start_instance(self, name: str) -> None:
        arguments = ["-m", "deployments.sandbox.service", "serve", str(self.layout.folder), name]
        self._start(name, [sys.executable, *arguments])

    async def start(self) -> None:
        """Everything at once, then wait until each part answers; customers come last. Raises Unavailable."""
        for name, argv in program_commands(self.layout).items():
            self._start(name, argv)
        for instance in self.layout.instances:
            self._start_instance(instance.name)
        waits = [self._wait_for(i.name, "/health") for i in self.layout.instances]
        waits += [self._wait_for(name, "/-/ready") for name in ("prometheus", "alertmanager")]
        waits += [self._wait_for(f"fe_{service}", "/health") for service in ("shop", "checkout", "payment", "catalog")]
        await asyncio.gather(*waits)
        self._start_customers()
        self._is_ready = True

    def _start_customers(self) -> None:
        argv = [sys.executable, "-m", "deployments.sandbox.load", str(self.layout.port("fe_shop"))]
        child = self._start("load", argv, with_pipes=True)
        if child.stdout is None:
            raise Unavailable("load generator has no pipe")
        os.set_blocking(child.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(child.stdout.fileno(), self._read_load, child.stdout.fileno())
        self._send_rates()

    def _send_rates(self) -> None:
        pipe = self._children["load"].stdin
        if pipe is None:
            raise Unavailable("load generator has no pipe")
        rates = {client: r * (self._surge if client in DEFAULT_RATES else 1) for client, r in self._rates.items()}
        pipe.write(json.dumps({"rates": {client: r for client, r in rates.items() if r > 0}}).encode() + b"\n")
        pipe.flush()

    def _read_load(self, descriptor: int) -> None:
        data = os.read(descriptor, 1 << 20)
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._report.add(json.loads(line))

    async def _wait_for(self, name: str, path: str) -> None:
        client = Client(self.layout.port(name))
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            child = self._children.get(name)
            if child is not None and child.poll() is not None:
                raise Unavailable(f"{name} ended with {child.returncode}: {_last_line(self.layout.logs / name)}")
            with suppress(OSError):
                if (await client.request("GET", path, timeout_seconds=1)).status == 200:
                    client.close()
                    return
            await asyncio.sleep(0.05)
        raise Unavailable(f"{name} did not answer within {_READY_SECONDS:.0f} s; see {self.layout.logs}/{name}.log")

    def stop(self) -> None:
        load = self._children.get("load")
        if load is not None and load.stdin is not None:
            load.stdin.close()
        stop_all(self._identities().values())
        for child in self._children.values():
            child.wait()

    def _identities(self) -> dict[str, Identity]:
        found = {name: identify(child.pid) for name, child in self._children.items() if child.poll() is None}
        return {name: identity for name, identity in found.items() if identity is not None}

    def _write_pids(self) -> None:
        body = {name: [identity.pid, identity.started] for name, identity in self._identities().items()}
        fresh = self.layout.run / "children.json.new"
        fresh.write_text(json.dumps(body))
        fresh.replace(self.layout.run / "children.json")

    # The control API

    async def handle(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except NotFound as error:
            return json_response({"error": str(error)}, 404)
        except (InvalidInput, ValueError) as error:
            return json_response({"error": str(error)}, 400)
        except QuellError as error:
            return json_response({"error": str(error)}, 503)

    async def _answer(self, request: Request) -> Response:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["state"]:
                return json_response(self._state())
            case "GET", ["faults"]:
                return json_response({"active": self._faults.show(), "known": _describe_faults()})
            case "POST", ["faults", name]:
                return json_response(await self._faults.inject(name, request.json()), 201)
            case "DELETE", ["faults", name]:
                target = request.query.get("target", "")
                return json_response({"cleared": await self._faults.clear(name, target)})
            case "GET", ["load"]:
                return json_response(self._load(request.query))
        raise NotFound(f"{request.method} {request.path} does not exist; see deployments/sandbox/README.md")

    def _state(self) -> dict[str, Any]:
        processes = {n: {"pid": c.pid, "running": c.poll() is None} for n, c in self._children.items()}
        return {
            "ready": self._is_ready,
            "folder": str(self.layout.folder),
            "ports": dict(self.layout.ports()),
            "processes": processes,
            "rates": self._rates,
            "surge": self._surge,
        }

    def _load(self, query: Mapping[str, str]) -> dict[str, Any]:
        seconds = min(max(int(query.get("seconds", "5")), 1), 120)
        body = self._report.summarise(seconds, time.time())
        return {**body, "series": self._report.series(seconds)} if "series" in query else body


def program_commands(layout: Layout) -> dict[str, list[str]]:
    folder = layout.folder
    return {
        "haproxy": [
            *(find_program(HAPROXY), "-W", "-db", "-f", f"{layout.repository}/haproxy/haproxy.cfg"),
            *("-S", f"{layout.haproxy}/master.sock,mode,600"),
        ],
        "prometheus": [
            *(find_program(PROMETHEUS), f"--config.file={folder}/prometheus/prometheus.yml"),
            *(f"--storage.tsdb.path={folder}/prometheus/data", "--storage.tsdb.retention.time=30d"),
            *(f"--web.listen-address=127.0.0.1:{layout.port('prometheus')}", "--web.enable-lifecycle"),
            *("--web.enable-remote-write-receiver", "--log.level=warn"),
        ],
        "alertmanager": [
            *(find_program(ALERTMANAGER), f"--config.file={folder}/alertmanager/alertmanager.yml"),
            *(f"--storage.path={folder}/alertmanager/data", "--cluster.listen-address=", "--log.level=warn"),
            f"--web.listen-address=127.0.0.1:{layout.port('alertmanager')}",
        ],
    }


def _describe_faults() -> dict[str, Any]:
    return {
        name: {"meaning": fault.meaning, "parameters": sorted(fault.parameters), "target": fault.target}
        for name, fault in FAULTS.items()
    }


def _last_line(log: Path) -> str:
    lines = log.with_suffix(".log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def control(layout: Layout, method: str, path: str, body: object = None, timeout_seconds: float = 30) -> dict[str, Any]:
    """Ask a running sandbox's control API. Raises QuellError."""
    return exchange(method, f"{layout.url('control')}{path}", body, timeout_seconds)


async def run(layout: Layout, lifeline: int | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if lifeline is not None:
        loop.add_reader(lifeline, stop.set)
    supervisor = Supervisor(layout)
    server = await serve(supervisor.handle, layout.port("control"))
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.wait())
    expiring = asyncio.create_task(supervisor.expire_faults())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
    except QuellError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        for task in (starting, expiring, stopping):
            task.cancel()
        server.close()
        supervisor.stop()
    return 0


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    sys.exit(asyncio.run(run(Layout.load(Path(folder)), int(rest[0]) if rest else None)))
