"""A real Alertmanager sends to the gateway: its retries and its resolved notices arrive exactly once."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.gateway import serving
from deployments.sandbox.ports import free_port
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.alert import Alert, AlertOutcome, AlertStatus
from quell.incidents.labels import fingerprint
from quell.incidents.service import Catalog, Instance, Service
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

LABELS = {"alertname": "InstanceErrors", "service": "checkout", "instance": "checkout-2", "severity": "critical"}
CHECKOUT = Service(name="checkout", team="shop", instances=(Instance(name="checkout-2", service="checkout"),))
CONFIG = """
route: {receiver: quell, group_by: [alertname, instance], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: quell
    webhook_configs: [{url: "http://127.0.0.1:PORT/api/v1/alerts/alertmanager", send_resolved: true}]
"""


@dataclass
class Gateway:
    """The gateway, and a switch that makes it answer 503 for a while, as an overloaded one does."""

    res: Resources
    port: int
    failures_left: int = 0
    attempts: int = 0

    def gate(self, app: ASGIApp) -> ASGIApp:
        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                self.attempts += 1
                if self.failures_left > 0:
                    self.failures_left -= 1
                    await Response("overloaded", status_code=503)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return gated

    def alerts(self) -> list[Alert]:
        drain_inbox(self.res)
        with self.res.store.reading() as tx:
            return tx.alerts.find()

    def wait_for(self, claim: Callable[[list[Alert]], bool]) -> list[Alert]:
        def found() -> list[Alert] | None:
            alerts = self.alerts()
            return alerts if claim(alerts) else None

        return wait_until("the alerts", found, tell=lambda: f"alerts: {self.alerts()}, attempts: {self.attempts}")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    store = SqlStore(f"sqlite:///{tmp_path / 'quell.db'}")
    config = Config(
        folder=tmp_path,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": CHECKOUT}),
    )

    def clock() -> datetime:
        return datetime.now(UTC)

    res = Resources(config=config, store=store, metrics=None, actuators={}, clock=clock)  # type: ignore[arg-type]
    running = Gateway(res, free_port())
    deps = GatewayDeps(store=store, config=config, clock=clock, decide=None, run_url=str)  # type: ignore[arg-type]
    app = running.gate(create_app(deps))
    with serving(app, port=running.port):
        yield running
    store.close()


@pytest.fixture
def alertmanager(gateway: Gateway, tmp_path: Path) -> Iterator[httpx.Client]:
    program = shutil.which("prometheus-alertmanager")
    assert program, "prometheus-alertmanager is not installed"
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.replace("PORT", str(gateway.port)))
    port = free_port()
    flags = [f"--config.file={config}", f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address="]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, *flags, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        wait_until("alertmanager is ready", lambda: client.get("/-/ready").status_code == 200, within=20)
        yield client
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def post(alertmanager: httpx.Client, *, ends_at: datetime | None = None) -> None:
    alert = {"labels": LABELS, "annotations": {"summary": "61 % of requests fail"}, "startsAt": STARTED.isoformat()}
    if ends_at:
        alert["endsAt"] = ends_at.isoformat()
    alertmanager.post("/api/v2/alerts", json=[alert]).raise_for_status()


STARTED = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)


def test_a_firing_and_a_resolved_notification_become_one_alert(gateway: Gateway, alertmanager: httpx.Client) -> None:
    post(alertmanager)
    (firing,) = gateway.wait_for(lambda alerts: len(alerts) == 1)
    assert (firing.fingerprint, firing.starts_at, firing.ends_at) == (fingerprint(LABELS), STARTED, None)
    assert (firing.source, firing.outcome, firing.incident) == ("alertmanager", AlertOutcome.OPENED, "INC-1")
    post(alertmanager, ends_at=datetime.now(UTC))
    (resolved,) = gateway.wait_for(lambda alerts: alerts[0].status is AlertStatus.RESOLVED)
    assert (resolved.id, resolved.outcome) == (firing.id, AlertOutcome.OPENED)
    assert resolved.ends_at is not None


def test_what_alertmanager_retries_after_503_arrives_exactly_once(gateway: Gateway, alertmanager: httpx.Client) -> None:
    gateway.failures_left = 3
    post(alertmanager)
    (alert,) = gateway.wait_for(lambda alerts: len(alerts) == 1)
    assert alert.status is AlertStatus.FIRING
    assert gateway.attempts >= 4
    with gateway.res.store.reading() as tx:
        assert len(tx.inbox.find()) == 1
        assert [incident.id for incident in tx.incidents.find()] == ["INC-1"]
