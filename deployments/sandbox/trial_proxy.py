"""A real HAProxy with three tiny backends in one folder: to try an actuator on, up in a tenth of a second."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from deployments.sandbox.ports import free_port

BACKEND = "be_checkout"
SERVERS = ("checkout-1", "checkout-2", "checkout-3")
GREEN = "be_green"  # the other side of the route `shop`; `be_empty` has a server that is down
_START_SECONDS = 10.0

_STANDING = """\
  # standing.map stays on: requests in gpc1's window; NEW has no line, OTHERS is all of those (docs/limits.md)
  http-request set-var(txn.own) var(txn.cl),map_str_int({folder}/maps/standing.map)
  http-request track-sc2 int(2) table {table} if !{{ var(txn.own) -m found }}
  http-request set-var(txn.slim) str(NEW),map_str_int({folder}/maps/standing.map,1000000000)
  http-request set-var(txn.slim) var(txn.own) if {{ var(txn.own) -m found }}
  http-request set-var(txn.over) int(1) if {{ var(txn.cl) -m found }} {{ sc0_gpc1_rate,sub(txn.slim) ge 0 }}
  http-request sc-set-gpt0(0) sc0_get_gpt0,add(1) if {{ var(txn.over) -m found }}
  http-request deny deny_status 429 if {{ var(txn.over) -m found }}
  http-request set-var(txn.olim) str(OTHERS),map_str_int({folder}/maps/standing.map,1000000000)
  http-request set-var(txn.over) int(1) if !{{ var(txn.own) -m found }} {{ sc2_gpc1_rate,sub(txn.olim) ge 0 }}
  http-request sc-set-gpt0(2) sc2_get_gpt0,add(1) if {{ var(txn.over) -m found }}
  http-request deny deny_status 429 if {{ var(txn.over) -m found }}
"""
_STORED = "gpc0,gpc0_rate(1s),gpc1,gpc1_rate(10s),gpt0,http_req_cnt,http_req_rate(1s)"
# The limiter counts admitted requests only: denied ones never count, so throughput settles at the limit.
_CONFIG = """
global
  stats socket {folder}/haproxy.sock mode 600 level admin expose-fd listeners
  server-state-file {folder}/server-state
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
  load-server-state-from-file global
backend st_admit
  stick-table type string len 64 size 1k expire 30s store {stored}
backend st_global
  stick-table type integer size 10 expire 30s store {stored}
frontend fe
  bind 127.0.0.1:{port}
  http-request set-var(txn.cl) req.hdr(x-client),lower
  http-request track-sc0 var(txn.cl) table st_admit
  http-request track-sc1 int(1) table st_global
  http-request set-var(txn.lim) var(txn.cl),map_str_int({folder}/maps/limits.map,1000000)
  http-request deny deny_status 429 if {{ var(txn.cl) -m found }} {{ sc0_gpc0_rate,sub(txn.lim) ge 0 }}
  http-request set-var(txn.alim) var(txn.cl),map_str_int({folder}/maps/adaptive.map,1000000)
  http-request deny deny_status 429 if {{ var(txn.cl) -m found }} {{ sc0_gpc0_rate,sub(txn.alim) ge 0 }}
{standing}  http-request set-var(txn.glim) str(global_rps),map_str_int({folder}/maps/knobs.map,1000000)
  http-request deny deny_status 429 if {{ sc1_gpc0_rate,sub(txn.glim) ge 0 }}
  http-request set-var(txn.aglim) str(adaptive_rps),map_str_int({folder}/maps/knobs.map,1000000)
  http-request deny deny_status 429 if {{ sc1_gpc0_rate,sub(txn.aglim) ge 0 }}
  http-request set-var(txn.shed) str(shed),map_str_int({folder}/maps/knobs.map,0)
  http-request deny deny_status 503 if {{ rand(1000),sub(txn.shed) lt 0 }}
  http-request sc-inc-gpc0(0) if {{ var(txn.cl) -m found }}
  http-request sc-inc-gpc0(1)
  http-request sc-inc-gpc1(0) if {{ var(txn.cl) -m found }}
  http-request sc-inc-gpc1(2) if !{{ var(txn.own) -m found }}
  # turns are counted on the global entry: standing limits take the third counter
  http-request set-var(txn.split) str(shop),map({folder}/maps/splits.map,none:0)
  http-request set-var(txn.part) var(txn.split),field(2,:)
  http-request set-var(txn.turn) sc1_inc_gpc1,mul(txn.part),mod(1000)
  use_backend %[var(txn.split),field(1,:)] if {{ var(txn.turn),sub(txn.part) lt 0 }}
  use_backend %[str(shop),map({folder}/maps/backends.map,be_checkout)]
backend be_checkout
{servers}
backend be_green
  server green-1 127.0.0.1:{green} weight 100
backend be_empty
  server empty-1 127.0.0.1:{green} disabled
{more}"""


def standing_rules(folder: Path, table: str = "st_global") -> str:
    """The lines of a frontend that hold clients to standing limits; requests without a line count in `table`."""
    return _STANDING.format(folder=folder, table=table)


class TrialProxy:
    """Starts on entering, stops on leaving; `hits` counts what each backend answered, `failing` answer with 500.

    `urls` are the backends' own addresses, `more` is further configuration, `route` the backend that the route `shop`
    begins with.
    """

    def __init__(self, folder: Path, *, more: str = "", route: str = BACKEND) -> None:
        self._more, self._route = more, route
        self.folder = folder
        self.maps = folder / "maps"
        self.state_file = folder / "server-state"
        self.socket = str(folder / "haproxy.sock")
        self.hits: Counter[str] = Counter()
        self.failing: set[str] = set()
        self._backends = [self._backend(name) for name in (*SERVERS, "green-1")]
        addresses = (backend.server_address[1] for backend in self._backends)
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(SERVERS, addresses, strict=False)}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "TrialProxy":
        self.maps.mkdir(parents=True, exist_ok=True)
        (self.maps / "limits.map").write_text("# client requests_per_second\n")
        (self.maps / "adaptive.map").write_text("# client requests_per_second, adjusted by Quell\n")
        (self.maps / "standing.map").write_text("# requests in the limiter's window for each client\n")
        (self.maps / "knobs.map").write_text("# knob value\nglobal_rps 1000000\n")
        (self.maps / "backends.map").write_text(f"# route backend\nshop {self._route}\n")
        (self.maps / "splits.map").write_text("# route backend:per_mille\nshop none:0\n")
        self.state_file.touch()
        for backend in self._backends:
            threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        lines = [
            f"  server {name} 127.0.0.1:{backend.server_address[1]} weight 100"
            for name, backend in zip(SERVERS, self._backends, strict=False)
        ]
        config = self._config
        green = self._backends[-1].server_address[1]
        text = _CONFIG.format(
            folder=self.folder,
            port=self.port,
            servers="\n".join(lines),
            green=green,
            more=self._more,
            stored=_STORED,
            standing=standing_rules(self.folder),
        )
        config.write_text(text)
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
        for backend in self._backends:
            backend.shutdown()
            backend.server_close()

    @property
    def _config(self) -> Path:
        return self.folder / "haproxy.cfg"

    def _start(self) -> None:
        master = f"{self.folder}/master.sock,mode,600"
        self._process = subprocess.Popen(
            ["haproxy", "-W", "-db", "-f", str(self._config), "-S", master],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_up()

    def kill(self) -> None:
        """kill -9 of HAProxy, its worker included; `start_again` brings it back with what its files hold."""
        if self._process is None:
            return
        workers = [int(row[0]) for row in self._processes() if row[1] == "worker"]
        self._process.kill()
        self._process.wait(timeout=10)
        for pid in workers:  # it would go by itself, a little later
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process = None

    def start_again(self) -> None:
        self._start()

    def get(self, client: str | None = None) -> tuple[int, str]:
        """One request through the proxy: its status, and the name of the backend that answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/", headers={"x-client": client} if client else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def reload(self) -> None:
        """Reload the configuration, and wait until the new worker serves."""
        before = self._worker()
        self._master("reload")
        deadline = time.monotonic() + _START_SECONDS
        while self._worker() in ("", before):
            _check(deadline, "haproxy did not reload")
        self._wait_until_up()

    @contextlib.contextmanager
    def flooding(self, client: str, rate: float) -> Generator[list[float]]:
        """Requests of one client beside what is done meanwhile, `rate` a second at most; when each was answered."""
        is_over = threading.Event()
        answered: list[float] = []

        def flood() -> None:
            while not is_over.wait(1 / rate):
                self.get(client)
                answered.append(time.monotonic())

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            yield answered
        finally:
            is_over.set()
            thread.join()

    def _worker(self) -> str:
        return next((row[0] for row in self._processes() if row[1] == "worker" and row[2] == "0"), "")

    def _processes(self) -> list[list[str]]:
        """Pid, type, reloads and more of each."""
        rows = [line.split() for line in self._master("show proc").splitlines()]
        return [row for row in rows if len(row) > 2 and row[0].isdigit()]

    def _master(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            try:
                connection.connect(f"{self.folder}/master.sock")
                connection.sendall(f"{command}\n".encode())
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
            except OSError:  # the master opens its socket anew while it reloads
                return ""

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.get()
            except OSError:
                _check(deadline, f"haproxy does not answer on port {self.port}")
            else:
                return

    def _backend(self, name: str) -> ThreadingHTTPServer:
        hits, failing = self.hits, self.failing

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hits[name] += 1
                self.send_response(500 if name in failing else 200)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Say nothing: the tests read `hits`."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _check(deadline: float, message: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(message)
    time.sleep(0.02)
