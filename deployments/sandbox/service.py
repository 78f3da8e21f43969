"""One instance of one service of the shop: `serve DIR INSTANCE`; `check FILE...` validates settings, exits 0 or 1."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from deployments.sandbox.business import BUSINESSES, open_calls
from deployments.sandbox.layout import Layout
from deployments.sandbox.settings import Settings, read_settings
from deployments.sandbox.wire import Client, Request, Response, json_response, serve
from quell.incidents.errors import InvalidInput, QuellError

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)
_MOST_CLIENTS = 64  # the header comes from outside; what is beyond counts as "other"
_LONGEST_FAULT_SECONDS = 3600.0


class Metrics:
    """What Prometheus scrapes; names are agreed with signals.yaml and the alert rules."""

    def __init__(self, service: str, instance: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._labels = {"service": service, "instance": instance}
        names = ("service", "instance")
        self._requests = Counter("shop_requests", "Requests by status", (*names, "code"), registry=self.registry)
        for code in ("200", "500"):  # a ratio needs its zero from the first scrape on
            self._requests.labels(**self._labels, code=code)
        seconds = Histogram("shop_request_seconds", "Time taken", names, buckets=_BUCKETS, registry=self.registry)
        self._seconds = seconds.labels(**self._labels)
        self._config = Gauge("shop_config_info", "Commit in force", (*names, "commit"), registry=self.registry)
        if service == "storefront":
            self._by_client = Counter(
                "shop_client_requests", "Requests that HAProxy let in", (*names, "client"), registry=self.registry
            )
        self._clients: set[str] = set()

    def count(self, code: int, seconds: float) -> None:
        self._requests.labels(**self._labels, code=str(code)).inc()
        self._seconds.observe(seconds)

    def count_client(self, client: str) -> None:
        if client not in self._clients and len(self._clients) >= _MOST_CLIENTS:
            client = "other"
        self._clients.add(client)
        self._by_client.labels(**self._labels, client=client).inc()

    def show_commit(self, commit: str) -> None:
        self._config.clear()
        self._config.labels(**self._labels, commit=commit).set(1)


class Faults:
    """Trouble on purpose, switched over the admin path; every fault ends by itself."""

    def __init__(self) -> None:
        self._until = 0.0
        self._error_share = 0.0
        self._latency_seconds = 0.0
        self._burning: asyncio.Task[None] | None = None

    def set(self, *, error_share: float = 0, latency_ms: float = 0, cpu_share: float = 0, seconds: float = 0) -> None:
        """Replace what was set before; all zero clears."""
        self._until = time.monotonic() + min(seconds, _LONGEST_FAULT_SECONDS)
        self._error_share = error_share
        self._latency_seconds = latency_ms / 1000
        if self._burning is not None:
            self._burning.cancel()
        self._burning = asyncio.create_task(self._burn(min(cpu_share, 0.95))) if cpu_share else None

    async def _burn(self, share: float) -> None:
        """Compute for `share` of every tenth of a second, in the event loop, as a hot loop in the code would."""
        while time.monotonic() < self._until:
            stop = time.monotonic() + 0.1 * share
            while time.monotonic() < stop:
                pass
            await asyncio.sleep(0.1 * (1 - share))

    async def delay(self) -> None:
        if self._latency_seconds and time.monotonic() < self._until:
            await asyncio.sleep(self._latency_seconds * random.uniform(0.8, 1.2))

    def fails_now(self) -> bool:
        return self._error_share > 0 and time.monotonic() < self._until and random.random() < self._error_share


class Service:
    """The instance: business, settings in force, metrics and faults behind one HTTP handler."""

    def __init__(self, layout: Layout, name: str) -> None:
        instance = layout.instance(name)
        self._name, self._service = instance.name, instance.service
        self._file = layout.settings_file(name)
        self._layout, self._calls = layout, dict[str, Client]()
        self._metrics = Metrics(instance.service, name)
        self._faults = Faults()
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/health"): self._show_health,
            ("GET", "/metrics"): self._show_metrics,
            ("GET", "/config"): self._show_config,
            ("POST", "/reload"): self._reload,
            ("POST", "/admin/faults"): self._set_faults,
        }
        self.load()

    def load(self) -> None:
        """Read the file; what was in force stays in force when it is refused."""
        settings = read_settings(self._file)
        if (settings.service, settings.instance) != (self._service, self._name):
            raise InvalidInput(f"{self._file}:1: is for {settings.service} {settings.instance}, not for {self._name}")
        self._settings: Settings = settings
        self._commit = commit_of(self._file)
        before, self._calls = self._calls, open_calls(self._layout, settings)
        for client in before.values():
            client.close()
        self._business = BUSINESSES[self._service](settings, self._calls)
        self._metrics.show_commit(self._commit)

    async def handle(self, request: Request) -> Response:
        if request.path == "/":
            return await self._serve_customer(request)
        route = self._routes.get((request.method, request.path))
        return route(request) if route else json_response({"error": f"no such path: {request.path}"}, 404)

    async def _serve_customer(self, request: Request) -> Response:
        started = time.monotonic()
        if self._service == "storefront":
            self._metrics.count_client(request.headers.get("x-client", "unknown"))
        await self._faults.delay()
        status, text = (500, "internal error") if self._faults.fails_now() else await self._business()
        self._metrics.count(status, time.monotonic() - started)
        return json_response({"instance": self._name, "result": text}, status)

    def _show_health(self, _: Request) -> Response:
        if not self._settings.values.get("health_check", 1):
            return json_response({"error": "no such path: /health"}, 404)
        return json_response({"status": "ok"})

    def _show_metrics(self, _: Request) -> Response:
        return Response(body=generate_latest(self._metrics.registry), content_type="text/plain; version=0.0.4")

    def _show_config(self, _: Request) -> Response:
        settings = {"service": self._service, "instance": self._name, **self._settings.values}
        return json_response({"file": str(self._file), "commit": self._commit, "settings": settings})

    def _reload(self, request: Request) -> Response:
        try:
            self.load()
        except QuellError as error:
            return json_response({"error": str(error)}, 422)
        print(f"{self._name}: reloaded, commit {self._commit}", flush=True)
        return self._show_config(request)

    def _set_faults(self, request: Request) -> Response:
        try:
            self._faults.set(**{name: float(value) for name, value in request.json().items()})
        except (ValueError, TypeError) as error:
            return json_response({"error": str(error)}, 400)
        return json_response({"status": "ok"})


def commit_of(file: Path) -> str:
    """The last commit that touched the file; empty before the first."""
    done = subprocess.run(
        ["git", "-C", str(file.parent), "log", "-1", "--format=%H", "--", file.name],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout.strip()


async def _run(layout: Layout, name: str) -> None:
    service = Service(layout, name)
    server = await serve(service.handle, layout.port(name))
    await server.serve_forever()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["serve", folder, name]:
            asyncio.run(_run(Layout.load(Path(folder)), name))
        case ["check", *files] if files:
            return _check([Path(file) for file in files])
        case _:
            print("usage: service serve DIR INSTANCE | service check FILE...", file=sys.stderr)
            return 2
    return 0


def _check(files: list[Path]) -> int:
    status = 0
    for file in files:
        try:
            read_settings(file)
        except InvalidInput as error:
            print(error, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
