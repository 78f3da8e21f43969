"""A real Prometheus that sends to Quell as if it were an Alertmanager: firing, repeated, resolved, with a token."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.gateway import serving
from deployments.sandbox.ports import free_port
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.gateway.senders import hash_token
from quell.incidents.alert import AlertStatus
from quell.incidents.event_source import EventKind, EventSource
from quell.incidents.service import Catalog, Service
from tasks.intake import drain_inbox
from tasks.resources import Resources
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

CONFIG = """
global: {evaluation_interval: 1s}
scrape_configs: []
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - path_prefix: /
      static_configs: [{targets: ["127.0.0.1:PORT"]}]
      authorization: {credentials_file: token}
"""
RULES = """
groups:
  - name: shop
    rules: [{alert: Errors, expr: "EXPRESSION", labels: {service: checkout}, annotations: {summary: many errors}}]
"""


@pytest.fixture
def res(tmp_path: Path) -> Iterator[Resources]:
    source = EventSource(
        name="prom-1", may_send=frozenset({EventKind.ALERTS, EventKind.CHANGES}), tokens=(hash_token("the token"),)
    )
    config = Config(
        folder=tmp_path,
        connections=Connections(store="", prometheus=""),
        catalog=Catalog(services={"checkout": Service(name="checkout", team="shop")}),
        sources={"prom-1": source},
    )
    store = SqlStore(f"sqlite:///{tmp_path}/quell.db")
    yield Resources(config=config, store=store, metrics=None, actuators={}, clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]
    store.close()


@pytest.fixture
def gateway_port(res: Resources) -> Iterator[int]:
    deps = GatewayDeps(
        store=res.store,
        config=res.config,
        clock=res.clock,
        decide=lambda **_: pytest.fail("no decision here"),
        run_url=lambda run: run,
    )
    with serving(create_app(deps)) as url:
        yield int(url.rpartition(":")[2])


@contextmanager
def prometheus(folder: Path, gateway_port: int) -> Iterator[str]:
    (folder / "prometheus.yml").write_text(CONFIG.replace("PORT", str(gateway_port)))
    (folder / "token").write_text("the token\n")
    (folder / "rules.yml").write_text(RULES.replace("EXPRESSION", "vector(1) > 0"))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    options += [f"--web.listen-address={address}", "--web.enable-lifecycle", "--rules.alert.resend-delay=1s"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["prometheus", *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_prometheus_sends_straight_to_quell(res: Resources, gateway_port: int, tmp_path: Path) -> None:
    """Small places run no Alertmanager. Prometheus repeats itself until it is over: still one alert, one incident."""

    def received() -> int:
        with res.store.reading() as tx:
            return tx.inbox.count()

    def statuses() -> list[AlertStatus]:
        drain_inbox(res)
        with res.store.reading() as tx:
            return [alert.status for alert in tx.alerts.find()]

    with prometheus(tmp_path, gateway_port) as url:
        wait_until("it fires and repeats itself", lambda: received() >= 3)
        assert statuses() == [AlertStatus.FIRING]
        (tmp_path / "rules.yml").write_text(RULES.replace("EXPRESSION", "vector(1) > 2"))
        assert httpx.post(f"{url}/-/reload", trust_env=False).is_success
        wait_until("it is resolved", lambda: statuses() == [AlertStatus.RESOLVED])
    with res.store.reading() as tx:
        (alert,) = tx.alerts.find()
        assert (alert.source, alert.service, alert.annotations["summary"]) == ("prom-1", "checkout", "many errors")
        assert tx.incidents.count() == 1
        assert tx.inbox.count({"quarantine": "held"}) == 0


def test_the_change_command_shows_its_token(
    res: Resources, gateway_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline on another machine has a file or a variable, and never the token on its command line."""
    monkeypatch.delenv("QUELL_TOKEN", raising=False)
    words = [
        "change",
        "--service",
        "checkout",
        "--summary",
        "deploy 7",
        "--gateway",
        f"http://127.0.0.1:{gateway_port}",
    ]
    (tmp_path / "token").write_text("the token\n")
    assert CliRunner().invoke(app, words).exit_code == 1
    assert CliRunner().invoke(app, [*words, "--token-file", str(tmp_path / "none")]).exit_code == 1
    assert CliRunner().invoke(app, [*words, "--token-file", str(tmp_path / "token")]).exit_code == 0
    monkeypatch.setenv("QUELL_TOKEN", "the token")
    assert CliRunner().invoke(app, words).exit_code == 0
    with res.store.reading() as tx:
        assert {(item.kind, item.source) for item in tx.inbox.find()} == {("change", "prom-1")}
