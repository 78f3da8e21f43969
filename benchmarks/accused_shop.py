"""Many small services behind one real HAProxy, with users and somebody who watches HAProxy's own state."""

import http.client
import socket
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import httpx

from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.errors import Unavailable

SERVERS = 3  # of each service
FLOOR = 0.5  # of a service's capacity
LOOK_SECONDS = 0.005
USERS = 4
REQUESTS_PER_SECOND = 200  # of all users together
_HEAD = """
global
  stats socket {folder}/haproxy.sock mode 600 level admin expose-fd listeners
  server-state-file {folder}/server-state
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 10s
  load-server-state-from-file global
  default-server check inter 2s fall 2 rise 1 weight 100
frontend fe_metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
frontend fe_instances
  bind 127.0.0.1:{instances}
  http-request return status 200 content-type text/plain string well
frontend fe_shop
  bind 127.0.0.1:{port}
  use_backend be_%[path,field(2,/)]
"""


class AccusedShop:
    """Every server is the same healthy one; it starts on entering and stops on leaving."""

    def __init__(self, folder: Path, *, services: int) -> None:
        self.folder = folder
        self.services = [f"shop-{n}" for n in range(services)]
        self.socket = str(folder / "haproxy.sock")
        self.state_file = folder / "server-state"
        self.port, self._instances, self._metrics = (_free_port() for _ in range(3))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "AccusedShop":
        self.folder.mkdir(parents=True)
        self.state_file.touch()
        ports = {"port": self.port, "instances": self._instances, "metrics": self._metrics}
        lines = [_HEAD.format(folder=self.folder, **ports)]
        for service in self.services:
            lines.append(f"backend be_{service}\n  option httpchk GET /health")
            lines += [f"  server {service}-{n} 127.0.0.1:{self._instances}" for n in range(1, SERVERS + 1)]
        (self.folder / "haproxy.cfg").write_text("\n".join([*lines, ""]))
        with (self.folder / "log").open("wb") as log:
            command = ["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def services_yaml(self) -> str:
        lines = ["services:"]
        for service in self.services:
            lines += [f"  {service}:", "    team: t", "    user_facing: true", "    instances:"]
            url = f"http://127.0.0.1:{self._instances}"
            lines += [
                f"      {service}-{n}: {{server: be_{service}/{service}-{n}, url: '{url}'}}"
                for n in range(1, SERVERS + 1)
            ]
        return "\n".join([*lines, ""])

    def be_scraped_by(self, url: str, config: Path) -> None:
        """Tell a running Prometheus to read our exporter every second."""
        job = (
            "  - job_name: haproxy\n    scrape_interval: 1s\n    scrape_timeout: 1s\n    params: {scope: [backend]}\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{self._metrics}']}}]\n"
        )
        config.write_text(config.read_text().replace("scrape_configs: []\n", f"scrape_configs:\n{job}"))
        httpx.post(f"{url}/-/reload", trust_env=False, timeout=30).raise_for_status()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/{self.services[0]}", trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise SystemExit(f"haproxy does not answer: {(self.folder / 'log').read_text()[-500:]}")


class Watch:
    """Reads HAProxy's own state every few milliseconds: who is out since when, and what is left of each service."""

    def __init__(self, shop: AccusedShop) -> None:
        self._client = RuntimeClient(shop.socket, timedelta(seconds=5))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._ended: list[tuple[float, float]] = []
        self.out: dict[str, float] = {}
        self.seen: set[str] = set()
        self.looks, self.crossed, self.least, self.longest = 0, 0, 1.0, 0.0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def periods(self) -> list[tuple[float, float]]:
        """From when until when a server was out; one that still is, for ever."""
        return [*self._ended, *((since, float("inf")) for since in self.out.values())]

    def _look(self) -> None:
        last = time.monotonic()
        while not self._is_over.wait(LOOK_SECONDS):
            try:
                servers = self._client.servers()
            except Unavailable:
                continue
            now = time.monotonic()
            self.looks, self.longest, last = self.looks + 1, max(self.longest, now - last), now
            left: dict[str, float] = defaultdict(float)
            for name, server in servers.items():
                left[server.backend] += server.serving_share / SERVERS
                if server.serving_share < 1 and name not in self.out:
                    self.out[name] = now
                    self.seen.add(name)
                elif server.serving_share >= 1 and name in self.out:
                    self._ended.append((self.out.pop(name), now))
            self.crossed += sum(share < FLOOR for share in left.values())
            self.least = min(self.least, *left.values())


class _Users:
    def __init__(self) -> None:
        self.sent = 0
        self.failed: list[str] = []

    def figures(self) -> dict[str, int]:
        return {"user_requests": self.sent, "user_errors": len(self.failed)}


@contextmanager
def users(shop: AccusedShop) -> Iterator[_Users]:
    """Requests to all services in turn, each user with a connection kept open."""
    seen, is_over = _Users(), threading.Event()

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", shop.port, timeout=5)
        number = first
        while not is_over.wait(USERS / REQUESTS_PER_SECOND):
            service = shop.services[number % len(shop.services)]
            number += 1
            try:
                connection.request("GET", f"/{service}/")
                response = connection.getresponse()
                response.read()
                said = "" if response.status == 200 else f"{service}: {response.status}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                said = f"{service}: {error!r}"
            seen.sent += 1
            if said:
                seen.failed.append(said)

    threads = [threading.Thread(target=ask, args=(n * len(shop.services) // USERS,)) for n in range(USERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
