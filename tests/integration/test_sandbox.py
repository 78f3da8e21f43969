"""The sandbox shop: it starts quickly, every fault shows and clears, and nothing is left behind."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deployments.sandbox import programs, repository
from deployments.sandbox.deploy import announce, deploy, exchange
from deployments.sandbox.layout import Layout, find_base_port
from deployments.sandbox.misconfigurations import MISTAKES
from deployments.sandbox.ports import is_free
from deployments.sandbox.processes import identify
from deployments.sandbox.repository import last_commit
from deployments.sandbox.sandbox import Sandbox
from deployments.sandbox.service import main as service_main
from quell.config.load import load_config
from quell.incidents.errors import Conflict, InvalidInput, Unavailable
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def wait_for(what: str, claim: Callable[[], object], within: float = 12.0) -> Any:
    """Until the claim holds: until it says something that counts as true."""
    return wait_until(what, lambda: claim() or None, within=within, every=0.1)


def query(sandbox: Sandbox, expression: str) -> dict[str, float]:
    """instance (or alert name) -> value, from the sandbox's Prometheus."""
    url = f"{sandbox.layout.url('prometheus')}/api/v1/query?query={quote(expression)}"
    rows = exchange("GET", url)["data"]["result"]
    return {r["metric"].get("alertname") or r["metric"].get("instance", ""): float(r["value"][1]) for r in rows}


def failing(sandbox: Sandbox, service: str) -> set[str]:
    rate = 'sum by (instance) (rate(shop_requests_total{service="%s"%s}[3s]))'
    failed, all_of_them = rate % (service, ',code=~"5.."'), rate % (service, "")
    return set(query(sandbox, f"{failed} / {all_of_them} > 0.2"))


def is_well(sandbox: Sandbox) -> bool:
    total = sandbox.load_seen(2)["total"]
    return total["requests"] > 40 and total["error_ratio"] == 0 and total["p99_ms"] < 300


def everything_runs(sandbox: Sandbox) -> list[int]:
    processes = sandbox.state()["processes"]
    assert all(process["running"] for process in processes.values())
    return [process["pid"] for process in processes.values()]


class Gateway(HTTPServer):
    """Stands where Quell's gateway would and keeps what the pipeline and Alertmanager send."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.received: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Keep(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Gateway)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(202)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, gateway: Gateway) -> Iterator[Sandbox]:
    shop = Sandbox(tmp_path_factory.mktemp("shop"), find_base_port(), gateway.url)
    started = time.monotonic()
    shop.up()
    shop.seconds_to_start = time.monotonic() - started  # type: ignore[attr-defined]
    try:
        yield shop
    finally:
        shop.down()


@pytest.fixture(autouse=True)
def _calm_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves its fault behind; the next one shall not pay for it."""
    yield
    if "sandbox" in request.fixturenames:
        shop: Sandbox = request.getfixturevalue("sandbox")
        for fault in shop.faults():
            shop.clear(fault["name"])


def test_it_is_up_within_ten_seconds_and_requests_flow(sandbox: Sandbox) -> None:
    assert sandbox.seconds_to_start < 10  # type: ignore[attr-defined]
    wait_for("healthy load", lambda: is_well(sandbox))
    assert set(sandbox.load_seen(2)["clients"]) == {"web", "mobile", "partner"}
    everything_runs(sandbox)


def test_every_instance_and_the_load_balancer_are_scraped_each_second(sandbox: Sandbox) -> None:
    names = {instance.name for instance in sandbox.layout.instances} | {"haproxy"}
    wait_for("all targets up", lambda: set(query(sandbox, "up == 1")) == names)
    assert exchange("GET", f"{sandbox.layout.url('prometheus')}/api/v1/rules")["data"]["groups"][0]["interval"] == 1
    wait_for(
        "frontend counters", lambda: query(sandbox, 'rate(haproxy_frontend_http_responses_total{code="2xx"}[5s]) > 30')
    )
    wait_for("request rates", lambda: len(query(sandbox, "sum by (instance) (rate(shop_requests_total[5s])) > 5")) == 8)
    ratios = query(sandbox, 'sum by (instance) (rate(shop_requests_total{code="500"}[5s]))')
    assert len(ratios) == 8 and not any(ratios.values())


def test_the_configuration_is_rendered_for_this_sandbox(sandbox: Sandbox) -> None:
    text = (sandbox.config_folder / "quell.toml").read_text()
    assert f"http://127.0.0.1:{sandbox.layout.port('prometheus')}" in text
    assert str(sandbox.layout.haproxy / "haproxy.sock") in text
    texts = [file.read_text() for file in sandbox.config_folder.rglob("*.*")]
    assert not any(".quell/sandbox" in text or "127.0.0.1:74" in text for text in texts)
    config = load_config(sandbox.config_folder)
    assert config.gateway_url == f"http://127.0.0.1:{sandbox.layout.base_port + 60}"
    assert {i.name for service in config.catalog.services.values() for i in service.instances} == {
        instance.name for instance in sandbox.layout.instances
    }


def test_secrets_are_readable_by_the_owner_only(sandbox: Sandbox) -> None:
    files = sorted(sandbox.layout.secrets.iterdir())
    people = [
        f"{person}.{kind}" for person in ("alice", "bob", "carol") for kind in ("password", "password-hash", "totp")
    ]
    senders = [
        f"{sender}.{kind}"
        for sender in ("alertmanager", "pipeline", "support-desk")
        for kind in ("token", "token-hash")
    ]
    assert [file.name for file in files] == sorted(people + senders)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == len(files)


def test_a_share_of_errors_in_one_instance_shows_there_and_clears(sandbox: Sandbox) -> None:
    sandbox.inject("errors", instance="checkout-1", share=0.7)
    wait_for("checkout-1 fails", lambda: failing(sandbox, "checkout") == {"checkout-1"})
    assert sandbox.clear("errors") == 1
    wait_for("well again", lambda: is_well(sandbox))


def test_latency_and_a_hot_loop_slow_one_instance_down(sandbox: Sandbox) -> None:
    mean_seconds = "rate(shop_request_seconds_sum[3s]) / rate(shop_request_seconds_count[3s])"
    burning = 'rate(process_cpu_seconds_total{instance="catalog-1"}[3s]) > 0.4'
    sandbox.inject("latency", instance="checkout-3", latency_ms=500)
    sandbox.inject("cpu", instance="catalog-1", share=0.7)
    wait_for("checkout-3 is slow", lambda: "checkout-3" in query(sandbox, f"{mean_seconds} > 0.4"))
    wait_for("catalog-1 burns", lambda: query(sandbox, burning))
    assert {fault["name"] for fault in sandbox.faults()} == {"latency", "cpu"}
    assert sandbox.clear("latency") == 1 and sandbox.clear("cpu") == 1
    wait_for("well again", lambda: is_well(sandbox))


def test_a_bad_configuration_breaks_one_instance_until_the_reverted_file_is_deployed(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    layout = sandbox.layout
    good = deploy(layout, "checkout-2")
    told = sandbox.inject("bad-config")
    assert told["announced"] == "yes" and told["commit"] != good.sha
    _, event = next(item for item in gateway.received if item[0] == "/api/v1/changes")
    assert (event["kind"], event["service"], event["instance"]) == ("config", "checkout", "checkout-2")
    assert (event["commit"], event["author"]) == (told["commit"], "Dana Reyes")
    assert service_main(["check", str(layout.settings_file("checkout-2"))]) == 0, "the validator must let it pass"
    wait_for("only checkout-2 fails", lambda: failing(sandbox, "checkout") == {"checkout-2"})
    wait_for("users see it", lambda: 0.15 < (sandbox.load_seen(2)["total"]["error_ratio"] or 0) < 0.5)

    file = layout.settings_file("checkout-2")
    repository.git(layout.repository, "checkout", "-q", good.sha, "--", f"services/{file.name}")
    repository.commit(layout.repository, repository.MIRA, "revert", paths=[f"services/{file.name}"])
    healed = deploy(layout, "checkout-2")
    assert healed == last_commit(file) and healed.summary == "revert"
    wait_for("well again", lambda: is_well(sandbox))
    command = [sys.executable, "-m", "deployments.sandbox.deploy", str(layout.folder), "checkout-2", "--running"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert said == f"{healed.sha}\n", "what a look for drift compares with the branch"
    assert sandbox.clear("bad-config") == 1
    assert last_commit(file) == healed, "clearing what is healed adds no commit"


@pytest.mark.parametrize("name", [name for name in MISTAKES if name != "missing-health-check"])
def test_each_mistake_passes_the_validator_and_fails_the_customers_of_one_instance(sandbox: Sandbox, name: str) -> None:
    service = MISTAKES[name].service
    instance = f"{service}-1"
    file = sandbox.layout.settings_file(instance)
    good = file.read_text()
    sandbox.inject("misconfiguration", instance=instance, mistake=name, announce=False)
    assert service_main(["check", str(file)]) == 0
    wait_for(f"only {instance} fails", lambda: failing(sandbox, service) == {instance})
    assert sandbox.clear("misconfiguration") == 1
    assert file.read_text() == good
    wait_for("well again", lambda: is_well(sandbox))


def test_an_instance_without_its_health_check_gets_no_requests_and_an_alert(sandbox: Sandbox) -> None:
    sandbox.inject("misconfiguration", instance="checkout-1", mistake="missing-health-check", announce=False)
    alerts = 'ALERTS{alertname="InstanceOutOfService", instance="checkout-1", alertstate="firing"}'
    wait_for("the alert fires", lambda: query(sandbox, alerts))
    sandbox.clear("misconfiguration")
    wait_for("it is over", lambda: not query(sandbox, alerts))


def test_a_mistake_that_does_not_exist_or_is_another_services_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidInput, match="mistake is 'typo', must be one of timeout-too-short"):
        sandbox.inject("misconfiguration", mistake="typo")
    with pytest.raises(InvalidInput, match="a mistake in a file of storefront, and checkout-2 is one of checkout"):
        sandbox.inject("misconfiguration", mistake="swapped-names")


def test_a_surge_multiplies_the_traffic(sandbox: Sandbox) -> None:
    sandbox.inject("surge", factor=2.5)
    wait_for("100 requests a second", lambda: sandbox.load_seen(2)["total"]["rate"] > 85)
    sandbox.clear("surge")
    wait_for("usual rate", lambda: sandbox.load_seen(1)["total"]["rate"] < 55)


def test_a_noisy_client_hurts_the_others_raises_an_alert_and_can_be_limited(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.inject("noisy-client")
    wait_for("others wait", lambda: (sandbox.load_seen(1)["clients"].get("web", {}).get("p50_ms") or 0) > 300)

    def alerted() -> bool:
        return any(
            alert["labels"].get("client") == "batch-importer"
            for path, body in gateway.received
            if path == "/api/v1/alerts/alertmanager"
            for alert in body["alerts"]
        )

    wait_for("the alert reaches the gateway", alerted)
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(sandbox.layout.haproxy / "haproxy.sock"))
        admin.sendall(f"add map {sandbox.layout.haproxy}/maps/limits.map batch-importer 20\n".encode())
        assert admin.recv(1000).strip() == b""
    wait_for("others are served well", lambda: sandbox.load_seen(1)["clients"]["web"]["p99_ms"] < 300)

    def mostly_denied() -> bool:
        noisy = sandbox.load_seen(2)["clients"]["batch-importer"]
        return bool(noisy["denied"] > 5 * noisy["ok"])

    wait_for("the noisy client is mostly denied", mostly_denied)
    sandbox.clear("noisy-client")
    wait_for("well again", lambda: is_well(sandbox) and len(sandbox.load_seen(1)["clients"]) == 3)


def test_a_killed_dependency_fails_every_order_and_comes_back(sandbox: Sandbox) -> None:
    told = sandbox.inject("dependency-down", service="payment")
    assert told["killed"] == ["payment-1", "payment-2"]
    wait_for("orders fail", lambda: (sandbox.load_seen(1)["total"]["error_ratio"] or 0) > 0.9)
    wait_for("seen as down", lambda: set(query(sandbox, "up == 0")) == {"payment-1", "payment-2"})
    sandbox.clear("dependency-down")
    wait_for("well again", lambda: is_well(sandbox))
    everything_runs(sandbox)


def test_a_fault_ends_by_itself(sandbox: Sandbox) -> None:
    sandbox.inject("errors", instance="catalog-1", share=0.5, seconds=1)
    wait_for("over", lambda: not sandbox.faults(), within=5)
    wait_for("well again", lambda: is_well(sandbox))


@pytest.mark.parametrize(
    ("fault", "params", "words"),
    [
        ("flood", {}, "fault 'flood' does not exist"),
        ("errors", {"share": 1.5}, "share is 1.5, must be a number from 0 to 1"),
        ("errors", {"instance": "checkout-9"}, "instance 'checkout-9' does not exist"),
        ("surge", {"speed": 3}, "does not know speed"),
        ("noisy-client", {"client": "web"}, "belongs to the usual load"),
    ],
)
def test_a_wrong_fault_is_refused_with_the_limit(
    sandbox: Sandbox, fault: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=r"answered 40[04]") as refused:
        sandbox.inject(fault, **params)
    assert words in str(refused.value)
    assert not sandbox.faults()


def test_a_file_that_the_validator_refuses_is_not_put_into_force(sandbox: Sandbox) -> None:
    file = sandbox.layout.settings_file("checkout-1")
    before = file.read_text()
    file.write_text(before.replace("payment_timeout_ms: 800", "payment_timeout_ms: 80000"))
    with pytest.raises(InvalidInput, match=r"checkout-1\.yaml:\d+: payment_timeout_ms is 80000, must be between 1 and"):
        deploy(sandbox.layout, "checkout-1")
    file.write_text(before)
    deploy(sandbox.layout, "checkout-1")


def test_an_announcement_without_a_gateway_says_where_it_failed(sandbox: Sandbox) -> None:
    lonely = Layout(folder=sandbox.layout.folder, base_port=sandbox.layout.base_port)
    with pytest.raises(Unavailable, match=rf"{lonely.base_port + 60}/api/v1/changes got no answer"):
        announce(lonely, "checkout-1", last_commit(lonely.settings_file("checkout-1")))


def test_a_second_sandbox_runs_beside_the_first_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    second = Sandbox(tmp_path / "two", find_base_port())
    second.up()
    pids = [*everything_runs(second), second._supervisor.pid if second._supervisor else 0]
    assert second.load_seen(1)["seconds"] >= 0 and is_well(sandbox)
    with pytest.raises(Conflict, match="already up"):
        second.up()
    with pytest.raises(Conflict, match=rf"port taken: .*{sandbox.layout.base_port} \(fe_shop\)"):
        Sandbox(tmp_path / "three", sandbox.layout.base_port).up()
    second.down()
    assert not any(identify(pid) for pid in pids)
    assert all(is_free(port) for _, port in second.layout.ports())
    second.down()


def test_the_shop_dies_with_a_killed_owner(tmp_path: Path) -> None:
    """kill -9 of the process that called `up` leaves no child behind."""
    base = find_base_port()
    code = (
        "import sys, time; from pathlib import Path; from deployments.sandbox.sandbox import Sandbox\n"
        f"s = Sandbox(Path({str(tmp_path / 'shop')!r}), {base}); s.up()\n"
        "print(len(s.state()['processes']), flush=True)\n"
        "time.sleep(60)"
    )
    environment = programs.program_environment()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None and int(owner.stdout.readline()) == 12
        shop = Sandbox.load(tmp_path / "shop")
        pids = [*everything_runs(shop), json.loads((shop.layout.run / "supervisor.json").read_text())[0]]
        os.kill(owner.pid, signal.SIGKILL)
    wait_for("all gone", lambda: not any(identify(pid) for pid in pids))
    assert all(is_free(port) for _, port in shop.layout.ports())


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs.shutil, "which", lambda name, **_: None if name == "prometheus" else f"/bin/{name}")
    with pytest.raises(
        Unavailable, match=r"program missing: prometheus; run deployments/install-debian\.sh or apt-get"
    ):
        Sandbox(tmp_path / "none", 31000).up()
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="is not empty and holds no sandbox"):
        Sandbox(tmp_path, find_base_port()).up(fresh=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("payment_timeout_ms: fast", "3: payment_timeout_ms is 'fast', must be a whole number"),
        ("retries: 9", "3: retries is 9, must be between 0 and 5"),
        ("payment_timout_ms: 800", "3: unknown key payment_timout_ms; checkout knows work_ms"),
        ("service: warehouse", "3: service is 'warehouse', must be one of storefront"),
        ("retries: [", "is not YAML"),
    ],
)
def test_the_validator_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    file = tmp_path / "checkout-1.yaml"
    file.write_text(f"service: checkout\ninstance: checkout-1\n{line}\n")
    assert service_main(["check", str(file)]) == 1
    assert message in (said := capsys.readouterr().err) and said.startswith(f"{file}:")
