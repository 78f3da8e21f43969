"""What safeguards cost in calm traffic: the same requests with and without them, in pairs, on a real HAProxy.

`python -m benchmarks.safeguards [--pairs N] [--rate N] [--json]`

One HAProxy has two frontends with the same backend: one with every limiter of docs/surge.md, and one with none. On are
a limit for each of 20 clients, one for everything, and those of an adaptive throttle, all at twice the use; the traffic
is looked at ten times a second, as while a throttle is adjusted. A process of its own sends each request to both, one
right after the other and in an order drawn by lot, at a steady rate. A refusal of any of them is a wrong one.
"""

import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import parser, print_json, print_table
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.incidents.mitigation import Step
from quell.response.gradient import Caps

CLIENTS = tuple(f"client-{n}" for n in range(20))
_MORE = """
frontend fe_plain
  bind 127.0.0.1:{plain}
  default_backend be_upstream
backend be_upstream
  server upstream-1 127.0.0.1:{upstream}
frontend fe_upstream
  bind 127.0.0.1:{upstream}
  http-request return status 200 content-type text/plain string "done"
"""


def run(pairs: int, rate: int) -> dict[str, Any]:
    plain, upstream = _free_port(), _free_port()
    with tempfile.TemporaryDirectory(prefix="quell-guards-") as name:
        folder = Path(name)
        more = _MORE.format(plain=plain, upstream=upstream)
        with TrialProxy(folder, more=more, route="be_upstream") as proxy:
            actuator = HAProxyActuator(
                socket=proxy.socket, maps=proxy.maps, state_file=None, timeout=timedelta(seconds=5)
            )
            adaptive = _switch_on(actuator, rate)
            job = json.dumps([proxy.port, plain, pairs, rate, str(folder / "seen.npz")])
            sender = subprocess.Popen([sys.executable, "-m", "benchmarks.safeguards", "--send", job])
            while sender.poll() is None:
                actuator.adaptive.traffic(adaptive)
                time.sleep(0.1)
            if sender.returncode:
                raise SystemExit(f"the sender ended with {sender.returncode}")
            with np.load(folder / "seen.npz") as seen:
                return _figures(seen["guarded"], seen["plain"], seen["statuses"], float(seen["seconds"]))


def _switch_on(actuator: HAProxyActuator, rate: int) -> Step:
    each, everyone = 2 * rate // len(CLIENTS), 2 * rate
    for client in CLIENTS:
        params = {"requests_per_second": each}
        actuator.apply(Step(actuator="haproxy", action="throttle", target=f"client:{client}", params=params))
    params = {"requests_per_second": everyone}
    actuator.apply(Step(actuator="haproxy", action="throttle_all", target="global", params=params))
    adaptive = Step(
        actuator="haproxy",
        action="adaptive",
        target="global",
        params={"backend": "be_upstream", "latency_ms": 100, "floor_rps": 10},
    )
    actuator.adaptive.adjust(adaptive, Caps(everyone=everyone, clients=dict.fromkeys(CLIENTS, each)))
    return adaptive


def _figures(guarded: Any, plain: Any, statuses: Any, seconds: float) -> dict[str, Any]:
    added = (guarded - plain) * 1000
    return {
        "pairs": len(guarded),
        "pairs_per_second": len(guarded) / seconds,
        "wrong_refusals": int(np.count_nonzero(statuses != 200)),
        "plain_p50_ms": float(np.percentile(plain, 50) * 1000),
        "guarded_p50_ms": float(np.percentile(guarded, 50) * 1000),
        "plain_p99_ms": float(np.percentile(plain, 99) * 1000),
        "guarded_p99_ms": float(np.percentile(guarded, 99) * 1000),
        "added_p99_ms": float((np.percentile(guarded, 99) - np.percentile(plain, 99)) * 1000),
        "added_p999_ms": float((np.percentile(guarded, 99.9) - np.percentile(plain, 99.9)) * 1000),
        "median_added_in_a_pair_ms": float(np.median(added)),
    }


def _send(guarded_port: int, plain_port: int, pairs: int, rate: int, file: str) -> None:
    """In a process of its own: each request to both, one right after the other."""
    doors = [_connect(guarded_port), _connect(plain_port)]
    times, statuses = np.zeros((2, pairs)), np.zeros(pairs, dtype=int)
    requests = [f"GET / HTTP/1.1\r\nhost: shop\r\nx-client: {client}\r\n\r\n".encode() for client in CLIENTS]
    dice = random.Random(7)
    began = due = time.perf_counter()
    for number in range(pairs):
        due = max(due + 1 / rate, time.perf_counter() - 0.02)  # late is late: no bursts to catch up
        time.sleep(max(due - time.perf_counter(), 0))
        for door in (0, 1) if dice.random() < 0.5 else (1, 0):
            sent = time.perf_counter()
            doors[door].sendall(requests[number % len(requests)])
            status = _read(doors[door])
            times[door, number] = time.perf_counter() - sent
            if door == 0:
                statuses[number] = status
    seconds = time.perf_counter() - began
    np.savez(file, guarded=times[0], plain=times[1], statuses=statuses, seconds=seconds)


def _read(connection: socket.socket) -> int:
    """The status of one answer, which is short and comes with its length."""
    data = b""
    while True:
        part = connection.recv(65536)
        if not part:
            raise SystemExit("haproxy closed the connection")
        data += part
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            if len(body) >= length:
                return int(head[9:12])


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--pairs", type=int, default=100_000)
    asked.add_argument("--rate", type=int, default=1_000, help="pairs per second")
    asked.add_argument("--send", metavar="JOB", help="(what the sending process is called with)")
    options = asked.parse_args()
    if options.send:
        _send(*json.loads(options.send))
        return
    figures = run(options.pairs, options.rate)
    if options.json:
        print_json(figures)
        return
    rows = [(name.replace("_", " "), value) for name, value in figures.items()]
    print_table("safeguards on, calm traffic", ("figure", "value"), rows)


if __name__ == "__main__":
    main()
