"""How far a bad fix gets: real requests through HAProxy, counted by a real Prometheus, while the canary is judged.

The fix undoes the commit, but the instance fails for another reason. Users send requests all the time and note which
instance answered what. Counted is from the moment at which the canary gets traffic until it gets none any more. The
share is that of each canary by itself, however short it was, and that of all together. `expose_colours` does the same
with a service in two colours, whose idle one gets a fix that answers its probes well and fails users.
"""

import statistics
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from benchmarks.colour_ground import (
    COLOURS,
    GREEN,
    break_colour,
    break_it,
    colour_ground_of,
    colour_resources,
    open_incident,
    put_right,
)
from benchmarks.fix_faults import Sequence
from benchmarks.fix_ground import (
    GOOD,
    INSTANCES,
    Ground,
    ProxyMetrics,
    commit_and_deploy,
    file_of,
    ground_of,
    resources,
    set_key,
)
from benchmarks.fix_sequences import contain
from benchmarks.fix_victim import resolve
from deployments.sandbox.ports import free_port
from deployments.sandbox.programs import PROMETHEUS, find_program
from quell.adapters.metrics.prometheus import PrometheusSource
from quell.incidents.fix import FixState
from quell.resolution.canary import CanaryPolicy
from tasks.effect import undo_mitigation
from tasks.resources import Resources

_RATE = 60.0  # requests a second, as in the sandbox
_USERS = 4
_MOST = 0.1
_FAILED = 500
_READY_SECONDS = 30
_FRONTEND = """
frontend fe_exporter
  bind 127.0.0.1:{port}
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""
_SCRAPE = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: haproxy
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    at: float  # time.time() when it came
    instance: str
    status: int


class Users:
    """Send requests until the block ends, and keep every answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(_USERS)]
        self.answers: list[Answer] = []

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._is_over.wait(_USERS / _RATE):
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            self.answers.append(
                Answer(at=time.time(), instance=response.getheader("x-instance", ""), status=response.status)
            )
        connection.close()


def expose(times: int, folder: Path) -> dict[str, Any]:
    """`times` bad fixes, one after the other: exposed share and seconds to the revert, of each."""
    port = free_port()
    with (
        ground_of(f"sqlite:///{folder}/quell.db", folder / "ground", more=_FRONTEND.format(port=port)) as ground,
        _prometheus(folder / "prometheus", port) as url,
        Users(ground.port) as users,
    ):
        metrics: Any = _Metrics(url, ground)
        res = replace(resources(ground), metrics=metrics)
        found = [_one(res, ground, users, number) for number in range(times)]
    return _figures(found)


def expose_colours(times: int, folder: Path) -> dict[str, Any]:
    """The same of a service in two colours."""
    port, store = free_port(), f"sqlite:///{folder}/quell.db"
    with (
        colour_ground_of(store, folder / "ground", more=_FRONTEND.format(port=port)) as ground,
        _prometheus(folder / "prometheus", port) as url,
        Users(ground.port) as users,
    ):
        metrics: Any = _Metrics(url, ground)
        res = replace(colour_resources(ground), metrics=metrics)
        return _figures([_one_colour(res, ground, users) for _ in range(times)])


def _figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    shares = [one["exposed"] / one["requests"] for one in found]
    seconds = [one["reverted_s"] for one in found]
    return {
        "canaries": len(found),
        "reverted": sum(one["is_reverted"] for one in found),
        "bad_fix_exposed_share": sum(one["exposed"] for one in found) / sum(one["requests"] for one in found),
        "bad_fix_exposed_share_worst": max(shares),
        "bad_fix_exposed_above_a_tenth": sum(share > _MOST for share in shares),
        "bad_fix_away_s": max(one["away_s"] for one in found),
        "bad_fix_reverted_s": max(seconds),
        "bad_fix_reverted_s_median": statistics.median(seconds),
        "bad_answers_median": statistics.median(one["bad"] for one in found),
        "requests_median": statistics.median(one["requests"] for one in found),
        "requests_per_second": round(statistics.median(one["rate"] for one in found), 1),
    }


def _one(res: Resources, ground: Ground, users: Users, number: int) -> dict[str, Any]:
    """One bad fix, from the commit to the revert."""
    one = Sequence(number=number, kind="bad fix", act="nothing", instance=INSTANCES[number % len(INSTANCES)])
    text = GOOD.format(name=one.instance)
    bad = set_key(text, "payment_timeout_ms", 5)
    one.bad = commit_and_deploy(ground, {file_of(one.instance): bad}, f"{one.instance}: fail faster")
    one.incident, one.mitigation = contain(res, one)
    ground.broken(one.instance).touch()
    found = _watch(res, users, one.incident, "canary", (one.instance,))
    undo_mitigation(res, one.mitigation, "bob", "the next one")
    ground.broken(one.instance).unlink()
    commit_and_deploy(ground, {file_of(one.instance): text}, "as at first")
    return found


def _one_colour(res: Resources, ground: Ground, users: Users) -> dict[str, Any]:
    incident = open_incident(res, break_it(ground))
    break_colour(ground, GREEN, "/")
    found = _watch(res, users, incident, "split", COLOURS[GREEN])
    put_right(ground)
    return found


def _watch(res: Resources, users: Users, incident: str, part: str, instances: tuple[str, ...]) -> dict[str, Any]:
    """What users got while the fix was tried on these instances; `part` is what the canary's entry is called."""
    time.sleep(1.5)  # requests that ran when it was isolated are over, and counted
    users.answers.clear()
    begun = time.time()
    resolve(res, incident, CanaryPolicy(), time.sleep)
    ended = time.time()
    time.sleep(0.5)
    answers = [answer for answer in users.answers if answer.at >= begun]
    with res.store.reading() as tx:
        (fix,) = tx.fixes.find({"incident": incident})
        entry = tx.journal.get(f"{fix.id}/{part}")
    assert entry is not None and entry.finished_at is not None
    began, closed = entry.intended_at.timestamp(), entry.finished_at.timestamp()
    during = [answer for answer in answers if began <= answer.at <= closed]
    exposed = [answer for answer in answers if answer.instance in instances]
    bad = [answer.at for answer in exposed if answer.status >= _FAILED]
    return {
        "exposed": len(exposed),
        "requests": max(len(during), 1),
        "bad": len(bad),
        "away_s": closed - min(bad, default=closed),
        "reverted_s": ended - min(bad, default=closed),
        "is_reverted": fix.state is FixState.REVERTED,
        "rate": len(during) / (closed - began),
    }


class _Metrics(PrometheusSource):
    """HAProxy's counters from Prometheus; the users' signal as the ground says it."""

    def __init__(self, url: str, ground: Ground) -> None:
        super().__init__(url)
        self.range = ProxyMetrics(ground.socket).range


@contextmanager
def _prometheus(folder: Path, port: int) -> Generator[str]:
    folder.mkdir()
    (folder / "prometheus.yml").write_text(_SCRAPE.format(port=port))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        find_program(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_it_counts(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_it_counts(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while missing := _missing(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"prometheus at {url} has counted nothing for {_READY_SECONDS} s: {missing}")
        time.sleep(0.2)


def _missing(url: str) -> str:
    """Why it does not count yet; empty when it does. It does not listen at once, and has to scrape first."""
    try:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": "haproxy_server_weight"}, trust_env=False)
        return "" if answer.json()["data"]["result"] else "HAProxy has not been scraped"
    except (httpx.TransportError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
