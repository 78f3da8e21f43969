"""Standing limits on a real HAProxy: whom they refuse, what a client above its limit gets, and what the check costs.

`python -m benchmarks.standing_limits [--seconds N] [--pairs N] [--seed N] [--json]`

Eight clients send in bursts: requests at random times, and now and then five seconds' worth of them at once, about once
in HAProxy's window of ten seconds, which is the worst case for its counter. From the first `--seconds` limits are
learned as from Prometheus: the rate over ten seconds, read once a second, in fifteen blocks. For as long again the
limits are in force, with fresh bursts; then one client sends ten times as much as before, and a stranger as much as it
can, beside the others. A refusal of any of these is a wrong one.

The check's cost is measured apart, on two frontends that count alike, one with the rules of standing limits and a map
of 1,000 clients: the same requests to both, one right after the other and in an order drawn by lot.
"""

import asyncio
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import parser, print_json, print_table
from deployments.sandbox.trial_proxy import TrialProxy, standing_rules
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.actuators.haproxy_runtime import RuntimeClient
from quell.incidents.series import SeriesMatrix
from quell.incidents.standing import NEW, OTHERS, write_limits
from quell.prevention.standing_limit import StandingPolicy, propose_standing

WINDOW = 10
BLOCKS = 15
RATES = {f"client-{n}": 3.0 + 3.0 * n for n in range(8)}  # requests per second, without the bursts
ABUSER, STRANGER = "client-3", "stranger"
TIMES = 10
_BURST_SECONDS = 5.0  # of a client's usual requests, at once
_STRANGER_RATE = 400.0
_CONNECTIONS = 4  # of one client
_LINES = 1000
_READING = re.compile(r"key=(?P<key>\S+) use=.*gpc1_rate\(\d+\)=(?P<rate>\d+)")
_UPSTREAM = """
backend be_upstream
  server upstream-1 127.0.0.1:{upstream}
frontend fe_upstream
  bind 127.0.0.1:{upstream}
  http-request return status 200 content-type text/plain string "done"
"""
_COUNTED = """
  http-request set-var(txn.cl) req.hdr(x-client),lower
  http-request track-sc0 var(txn.cl) table {table}
  http-request track-sc1 int(1) table {table}_all"""
_TABLES = """
backend {table}
  stick-table type string len 64 size 10k expire 30s store gpc0,gpc0_rate(1s),gpc1,gpc1_rate(10s),gpt0,http_req_cnt
backend {table}_all
  stick-table type integer size 10 expire 30s store gpc0,gpc0_rate(1s),gpc1,gpc1_rate(10s),gpt0,http_req_cnt
"""
_ADMITTED = """
  http-request sc-inc-gpc0(0)
  http-request sc-inc-gpc0(1)
  default_backend be_upstream
"""


def run(seconds: int, pairs: int, seed: int) -> dict[str, Any]:
    upstream = _free_port()
    with tempfile.TemporaryDirectory(prefix="quell-standing-") as name:
        folder = Path(name)
        with TrialProxy(folder, more=_UPSTREAM.format(upstream=upstream), route="be_upstream") as proxy:
            found = _refusals(proxy, folder, seconds, seed)
    with tempfile.TemporaryDirectory(prefix="quell-standing-") as name:
        return found | _cost(Path(name), pairs)


def _refusals(proxy: TrialProxy, folder: Path, seconds: int, seed: int) -> dict[str, Any]:
    actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=None)
    matrix, sent, readings = _watched(proxy, actuator, folder, RATES, seconds, seed)
    policy = StandingPolicy(signal="measured", block=timedelta(seconds=seconds / BLOCKS))
    limits = propose_standing(matrix, policy).limits
    over = max(_readings_over_truth(sent, readings).values())
    actuator.standing.put(write_limits(limits, version="THR-1", window=policy.window))
    _, calm, _ = _watched(proxy, actuator, folder, RATES, seconds, seed + 1)
    rates = {**RATES, ABUSER: TIMES * RATES[ABUSER], STRANGER: _STRANGER_RATE}
    _, rough, _ = _watched(proxy, actuator, folder, rates, seconds, seed + 2)
    counted = actuator.standing.refused()
    legitimate = {name: requests for name, requests in rough.items() if name not in (ABUSER, STRANGER)}
    return {
        "clients": len(RATES),
        "requests_learned_from": sum(len(r) for r in sent.values()),
        "legitimate_requests_calm": sum(len(r) for r in calm.values()),
        "legitimate_refused_calm": sum(_refused(r) for r in calm.values()),
        "legitimate_requests_beside_abuse": sum(len(r) for r in legitimate.values()),
        "legitimate_refused_beside_abuse": sum(_refused(r) for r in legitimate.values()),
        "counter_over_true_window_worst": over,
        **_held("abuser", rough[ABUSER], limits[ABUSER]),
        **_held("stranger", rough[STRANGER], limits[NEW]),
        "refused_by_quells_count_over_refused_as_sent": sum(c.refused for c in counted.clients.values())
        / max(sum(_refused(r) for r in [*calm.values(), *rough.values()]), 1),
    }


Sent = dict[str, np.ndarray[Any, Any]]  # client -> (requests, 2): when it was answered, its status


def _held(who: str, requests: np.ndarray[Any, Any], limit: int) -> dict[str, Any]:
    """What a client above its limit gets: mean over the whole time and the fullest ten seconds, against its limit."""
    admitted = np.sort(requests[requests[:, 1] == 200, 0])
    span = float(requests[:, 0].max() - requests[:, 0].min())
    return {
        f"{who}_sent_over_limit": len(requests) / span * WINDOW / limit,
        f"{who}_admitted_over_limit": len(admitted) / span * WINDOW / limit,
        f"{who}_fullest_window_over_limit": _fullest(admitted) / limit,
        f"{who}_refused_share": _refused(requests) / len(requests),
    }


def _fullest(times: np.ndarray[Any, Any]) -> int:
    """The most that came within any ten seconds; `times` rise."""
    return (
        int((np.arange(1, len(times) + 1) - np.searchsorted(times, times - WINDOW, "right")).max()) if len(times) else 0
    )


def _refused(requests: np.ndarray[Any, Any]) -> int:
    return int(np.count_nonzero(requests[:, 1] != 200))


def _readings_over_truth(sent: Sent, readings: Mapping[str, int]) -> dict[str, float]:
    """HAProxy's highest reading of each client's ten seconds, over the most that any ten seconds held."""
    return {name: readings[name] / max(_fullest(np.sort(requests[:, 0])), 1) for name, requests in sent.items()}


def _watched(
    proxy: TrialProxy,
    actuator: HAProxyActuator,
    folder: Path,
    rates: Mapping[str, float],
    seconds: int,
    seed: int,
) -> tuple[SeriesMatrix, Sent, dict[str, int]]:
    """Let clients send, and look at HAProxy meanwhile: the rate of each over ten seconds, once a second."""
    file = folder / f"sent-{seed}.npz"
    job = json.dumps([proxy.port, dict(rates), seconds + WINDOW, seed, str(file)])
    sender = subprocess.Popen([sys.executable, "-m", "benchmarks.standing_limits", "--send", job])
    client, names = RuntimeClient(proxy.socket, timedelta(seconds=5)), list(rates)
    counts: list[list[float]] = []
    highest = dict.fromkeys(names, 0)
    due = time.monotonic()
    while sender.poll() is None:
        known = actuator.requests().clients
        counts.append([float(known[name].offered) if name in known else np.nan for name in names])
        due += 1.0
        while time.monotonic() < due and sender.poll() is None:
            for match in _READING.finditer(client.ask("show", "table", "st_admit")):
                if match["key"] in highest:
                    highest[match["key"]] = max(highest[match["key"]], int(match["rate"]))
            time.sleep(0.1)
    if sender.returncode:
        raise SystemExit(f"the sender ended with {sender.returncode}")
    with np.load(file) as stored:
        sent = {name: stored[name] for name in names}
    table = np.array(counts)
    rows = np.maximum(table[WINDOW:] - table[:-WINDOW], 0) / WINDOW
    grid = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + np.arange(len(rows), dtype=np.float64)
    labels = tuple({"client": name} for name in names)
    return SeriesMatrix(timestamps=grid, values=rows, labels=labels), sent, highest


def _cost(folder: Path, pairs: int) -> dict[str, Any]:
    """Two frontends that count alike; one has the rules of standing limits beside."""
    upstream, checked, plain = _free_port(), _free_port(), _free_port()
    more = (
        _UPSTREAM.format(upstream=upstream)
        + "".join(_TABLES.format(table=table) for table in ("t_checked", "t_plain"))
        + f"frontend fe_checked\n  bind 127.0.0.1:{checked}"
        + _COUNTED.format(table="t_checked")
        + _rules(folder)
        + "  http-request sc-inc-gpc1(0)\n  http-request sc-inc-gpc1(2) if !{ var(txn.own) -m found }"
        + _ADMITTED
        + f"frontend fe_plain\n  bind 127.0.0.1:{plain}"
        + _COUNTED.format(table="t_plain")
        + _ADMITTED
    )
    with TrialProxy(folder, more=more, route="be_upstream") as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=proxy.maps, state_file=None)
        limits = {f"client-{n}": 1_000_000 for n in range(_LINES)} | {NEW: 1_000_000, OTHERS: 1_000_000}
        actuator.standing.put(write_limits(limits, version="THR-1", window=timedelta(seconds=WINDOW)))
        job = json.dumps([checked, plain, pairs, 1000, str(folder / "seen.npz")])
        subprocess.run([sys.executable, "-m", "benchmarks.safeguards", "--send", job], check=True)
    with np.load(folder / "seen.npz") as seen:
        with_check, without = seen["guarded"] * 1000, seen["plain"] * 1000
        wrong = int(np.count_nonzero(seen["statuses"] != 200))
    return {
        "pairs": pairs,
        "lines_of_the_map": len(limits),
        "plain_p50_ms": float(np.percentile(without, 50)),
        "checked_p50_ms": float(np.percentile(with_check, 50)),
        "checked_over_plain_p50": float(np.percentile(with_check, 50) / np.percentile(without, 50)),
        "median_added_in_a_pair_ms": float(np.median(with_check - without)),
        "added_p99_ms": float(np.percentile(with_check, 99) - np.percentile(without, 99)),
        "wrong_refusals_in_pairs": wrong,
    }


def _rules(folder: Path) -> str:
    """The rules as docs/limits.md has them."""
    return "\n" + standing_rules(folder, table="t_checked_all")


def _send(port: int, rates: Mapping[str, float], seconds: int, seed: int, file: str) -> None:
    sent = asyncio.run(_all_clients(port, rates, seconds, seed))
    np.savez(file, **{name: np.array(rows) for name, rows in sent.items()})


async def _all_clients(
    port: int, rates: Mapping[str, float], seconds: int, seed: int
) -> dict[str, list[tuple[float, int]]]:
    sent: dict[str, list[tuple[float, int]]] = {name: [] for name in rates}
    ends = time.perf_counter() + seconds
    await asyncio.gather(
        *(_client(port, name, rate, ends, random.Random(f"{seed} {name}"), sent[name]) for name, rate in rates.items())
    )
    return sent


async def _client(
    port: int, name: str, rate: float, ends: float, dice: random.Random, sent: list[tuple[float, int]]
) -> None:
    """Requests at random times, and about once in ten seconds a burst."""
    due: asyncio.Queue[None] = asyncio.Queue()
    senders = [asyncio.create_task(_sender(port, name, due, sent)) for _ in range(_CONNECTIONS)]
    next_at, burst_at = time.perf_counter(), time.perf_counter() + dice.uniform(0, WINDOW)
    while (now := time.perf_counter()) < ends:
        if now >= burst_at:
            burst_at = now + dice.uniform(0.8, 1.2) * WINDOW
            for _ in range(int(_BURST_SECONDS * rate)):
                due.put_nowait(None)
        while next_at <= now:
            next_at += dice.expovariate(rate)
            if due.qsize() < 10_000:
                due.put_nowait(None)
        await asyncio.sleep(max(min(next_at, burst_at) - time.perf_counter(), 0.001))
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


async def _sender(port: int, name: str, due: "asyncio.Queue[None]", sent: list[tuple[float, int]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET / HTTP/1.1\r\nhost: shop\r\nx-client: {name}\r\n\r\n".encode()
    try:
        while True:
            await due.get()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            await reader.readexactly(length)
            sent.append((time.time(), int(head[9:12])))
    finally:
        writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--seconds", type=int, default=150, help="to learn from, and of each time with limits")
    asked.add_argument("--pairs", type=int, default=50_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--send", metavar="JOB", help="(what the sending process is called with)")
    options = asked.parse_args()
    if options.send:
        _send(*json.loads(options.send))
        return
    figures = run(options.seconds, options.pairs, options.seed)
    if options.json:
        print_json(figures)
        return
    rows = [(name.replace("_", " "), value) for name, value in figures.items()]
    print_table("standing limits", ("figure", "value"), rows)


if __name__ == "__main__":
    main()
