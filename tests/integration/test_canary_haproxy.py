"""A canary on a real HAProxy with four servers: weights, counters and the ring of requests are HAProxy's own."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployments.sandbox.ports import free_port
from deployments.sandbox.trial_proxy import TrialProxy
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.fix import Fix, FixState
from quell.incidents.mitigation import Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.service import Catalog, Instance, Service
from quell.resolution.canary import CanaryPolicy, CanaryResult, CanaryVerdict
from tasks.canary import run_canary
from tasks.canary_counts import RESPONSES
from tasks.lane import close_lane, lane_of, widen_lane
from tasks.lease import hold
from tasks.resources import Resources

pytestmark = pytest.mark.integration

NAMES = ("four-1", "four-2", "four-3", "four-4")
SERVERS = tuple(f"be_four/{name}" for name in NAMES)
CANARY = SERVERS[0]
STEPS = CanaryPolicy(
    shares=(0.01, 0.1, 0.5, 1.0),
    window=timedelta(seconds=1),
    deadline=timedelta(seconds=15),
    minimum_requests=20,
    margin=0.3,
    request_log="requests",
)
_MORE = """
ring requests
  format raw
  maxlen 200
  size 262144
{upstreams}
backend be_four
{servers}
frontend fe_four
  bind 127.0.0.1:{front}
  log ring@requests format raw local0
  log-format "%b/%s %ST %Ta %pid-%rt"
  default_backend be_four
frontend fe_metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


@dataclass
class Exporter:
    """HAProxy's exporter, read without a Prometheus between; the one query that a canary asks."""

    port: int

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        assert query == f'{RESPONSES}{{proxy="be_four"}}'
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5, trust_env=False).text
        found = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == RESPONSES and sample.labels["proxy"] == "be_four"
        ]
        return SeriesMatrix(
            timestamps=np.array([time.time()]),
            values=np.array([[sample.value for sample in found]]),
            labels=tuple(sample.labels for sample in found),
        )

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        raise NotImplementedError("a canary asks for no range")


@dataclass
class Shop:
    res: Resources
    actuator: HAProxyActuator
    front: int
    fix: Fix
    weights: list[dict[str, str]] = field(default_factory=list)

    def state(self, server: str) -> dict[str, str]:
        return dict(self.actuator.read_state(Step(actuator="haproxy", action="weight", target=server)))

    def try_canary(self, policy: CanaryPolicy) -> CanaryResult:
        lane = lane_of(self.res, self.fix)
        assert lane is not None

        def sleep(seconds: float) -> None:
            self.weights.append({server: self.state(server)["weight"] for server in SERVERS})
            time.sleep(seconds / 4)

        with hold(self.res, self.fix.id) as lease:
            return run_canary(self.res, self.fix, lane, lease, policy, sleep=sleep)


@contextmanager
def traffic(port: int, rate: float) -> Iterator[None]:
    """One customer after the other, about so many a second."""
    is_over = threading.Event()

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        while not is_over.wait(1 / rate):
            connection.request("GET", "/")
            connection.getresponse().read()
        connection.close()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join()


@pytest.fixture(params=[200])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """The canary is drained, as a containment leaves it, and answers with the status of the test's parameter."""
    ports = {name: free_port() for name in (*NAMES, "front", "metrics")}
    statuses = {name: request.param if name == NAMES[0] else 200 for name in NAMES}
    upstreams = "\n".join(
        f"frontend up_{name}\n  bind 127.0.0.1:{ports[name]}\n"
        f'  http-request return status {statuses[name]} content-type text/plain string "{name}"'
        for name in NAMES
    )
    servers = "\n".join(f"  server {name} 127.0.0.1:{ports[name]} weight 100" for name in NAMES)
    more = _MORE.format(upstreams=upstreams, servers=servers, front=ports["front"], metrics=ports["metrics"])
    with TrialProxy(tmp_path / "proxy", more=more) as proxy:
        actuator = HAProxyActuator(socket=proxy.socket, maps=None, state_file=None)
        actuator.apply(Step(actuator="haproxy", action="isolate", target=CANARY))
        instances = tuple(Instance(name=n, service="four", server=s) for n, s in zip(NAMES, SERVERS, strict=True))
        catalog = Catalog(services={"four": Service(name="four", team="shop", instances=instances)})
        config = Config(folder=tmp_path, connections=Connections(store="", prometheus=""), catalog=catalog)
        res = Resources(
            config=config,
            store=MemoryStore(),
            metrics=Exporter(ports["metrics"]),
            actuators={"haproxy": actuator},
            clock=lambda: datetime.now(UTC),
        )
        now = datetime.now(UTC)
        fix = Fix(
            id="FIX-1",
            state=FixState.CANARY,
            incident="INC-1",
            service="four",
            instance=NAMES[0],
            repository="",
            file="",
            bad_commit="",
            diff="",
            created_at=now,
            updated_at=now,
        )
        yield Shop(res, actuator, ports["front"], fix)


@pytest.mark.parametrize("shop", [500], indirect=True)
def test_a_bad_fix_is_stopped_at_the_first_step_and_everything_is_as_before(shop: Shop) -> None:
    began = time.monotonic()
    with traffic(shop.front, 250):
        result = shop.try_canary(STEPS)
        took = time.monotonic() - began
        assert result.verdict is CanaryVerdict.REVERT, result.reason
        assert shop.state(CANARY) == {"admin_state": "drain", "weight": "100"}
        assert {shop.state(server)["weight"] for server in SERVERS[1:]} == {"100"}
    assert took < 15
    assert shop.weights and max(int(weights[CANARY]) for weights in shop.weights) <= 3, "it never got past one percent"
    assert result.canary.requests / (result.canary.requests + result.control.requests) <= 0.1
    assert "were exposed to it" in result.reason
    with shop.res.store.reading() as tx:
        told = [entry for entry in tx.timeline.of("INC-1") if entry.kind == "canary step revert"]
    assert len(told) == 1


def test_a_good_fix_goes_up_in_steps_beside_a_control_of_its_size(shop: Shop) -> None:
    with traffic(shop.front, 400):
        result = shop.try_canary(replace(STEPS, shares=(0.1, 0.2, 1.0)))
    assert result.verdict is CanaryVerdict.PROMOTE, result.reason
    seen = list(dict.fromkeys((weights[CANARY], weights[SERVERS[3]]) for weights in shop.weights))
    halves = [("12", "12"), ("33", "33"), ("50", "50")]  # of what each step begins with, until enough was served
    steps = [pair for pair in seen if pair not in halves]
    assert steps == [("25", "25"), ("66", "66"), ("100", "100")], "the last sibling keeps pace"
    assert {weights[SERVERS[1]] for weights in shop.weights} == {"100"}
    assert len(result.canary.latencies) >= 20 and max(result.canary.latencies) < 5
    assert any(comparison.metric == "latency" for comparison in result.comparisons)
    assert len(result.control.latencies) == pytest.approx(len(result.canary.latencies), rel=0.2, abs=10)
    assert result.control.requests > 2 * result.canary.requests, "errors are compared with all siblings"
    widen_lane(shop.res, shop.fix)
    assert {shop.state(server)["weight"] for server in SERVERS} == {"100"}


def test_weights_that_a_dead_process_left_are_put_back(shop: Shop) -> None:
    """kill -9 between two looks: the journal knows both servers' state before, the control's too."""

    def die(_seconds: float) -> None:
        raise KeyboardInterrupt

    lane = lane_of(shop.res, shop.fix)
    assert lane is not None
    with hold(shop.res, shop.fix.id) as lease, pytest.raises(KeyboardInterrupt):
        run_canary(shop.res, shop.fix, lane, lease, STEPS, sleep=die)
    assert shop.state(CANARY)["admin_state"] == "ready" and shop.state(SERVERS[3])["weight"] == "1"
    assert close_lane(shop.res, shop.fix)
    assert shop.state(CANARY) == {"admin_state": "drain", "weight": "100"}
    assert shop.state(SERVERS[3]) == {"admin_state": "ready", "weight": "100"}
    assert not close_lane(shop.res, shop.fix), "once is enough"


def test_a_log_that_is_not_there_is_no_evidence(shop: Shop) -> None:
    policy = replace(STEPS, shares=(0.25,), minimum_requests=1, p99_margin=0.1, request_log="absent")
    with traffic(shop.front, 200):
        result = shop.try_canary(replace(policy, deadline=timedelta(seconds=2)))
    assert result.verdict is CanaryVerdict.INCONCLUSIVE and "had 0 latencies" in result.reason
    assert shop.state(CANARY) == {"admin_state": "drain", "weight": "100"}
