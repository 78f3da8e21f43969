"""`quell check --live` against a real shop: Prometheus, HAProxy, git, validators and secrets."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.cli.check_live import check_live
from deployments.cli.finding import Finding
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.repository import Author, commit, set_value
from deployments.sandbox.sandbox import Sandbox
from quell.adapters.actuators.configuration import ConfigurationActuator, ConfigurationSettings
from quell.adapters.actuators.haproxy import HAProxyActuator
from quell.config.check import ACTUATORS
from quell.config.load import load_config
from quell.incidents.service import Catalog
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 40.0


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """In a folder of its own under /tmp: pytest's is too long for a unix socket."""
    with (
        tempfile.TemporaryDirectory(prefix="quell-", dir="/tmp") as folder,
        Sandbox(Path(folder) / "s", find_base_port()) as sandbox,
    ):
        # rates need two scrapes: a new shop has no series for a few seconds
        wait_until("the shop is well", lambda: not wrong(sandbox.config_folder), within=DEADLINE_SECONDS, every=0.5)
        yield sandbox


def wrong(folder: Path) -> list[Finding]:
    return [finding for finding in check_live(load_config(folder)) if not finding.is_ok]


def spoiled(shop: Sandbox, tmp_path: Path, file: str, old: str, new: str) -> list[Finding]:
    """What is wrong after one change of the sandbox's own configuration."""
    folder = Path(shutil.copytree(shop.config_folder, tmp_path / "config"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return wrong(folder)


def test_the_sandboxes_own_configuration_passes_every_check(shop: Sandbox) -> None:
    findings = list(check_live(load_config(shop.config_folder)))
    assert [finding for finding in findings if not finding.is_ok] == []
    parts = {"store", "prometheus", "alertmanager", "haproxy", "repository", "running", "probe", "secrets"}
    assert {finding.part for finding in findings} == parts
    assert {f.subject for f in findings if f.part == "haproxy"} >= {"checkout-2", "limits.map"}


def test_a_missing_metric_names_the_nearest_one(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "signals.yaml", "shop_client_requests_total", "shop_client_request_total")
    assert [(f.subject, f.text) for f in found] == [
        (
            "client-traffic",
            'metric "shop_client_request_total" does not exist; did you mean "shop_client_requests_total"?',
        )
    ]


def test_a_dask_scheduler_that_is_away_is_told(shop: Sandbox, tmp_path: Path) -> None:
    key = '[detection]\ndask_scheduler = "tcp://127.0.0.1:9"\n'
    [found] = spoiled(shop, tmp_path, "quell.toml", "[detection]\n", key)
    assert (found.part, found.subject) == ("dask", "scheduler")
    assert "tcp://127.0.0.1:9 cannot be reached" in found.text and "sweeps run in threads" in found.text


def test_a_query_that_does_not_parse_is_told_in_prometheus_own_words(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "signals.yaml", "sum by (client) (rate(", "sum by (client) ((rate(")
    assert [f.subject for f in found] == ["client-traffic"]
    assert "parse error" in found[0].text


def test_a_label_that_matches_nothing_is_told(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "signals.yaml", 'bucket{service="storefront"}', 'bucket{service="storefrnt"}')
    assert [f.subject for f in found] == ["shop-latency-p99"]
    assert "returns no series now" in found[0].text


def test_a_server_that_haproxy_does_not_have_names_the_nearest_one(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "services.yaml", "be_checkout/checkout-2", "be_checkout/chekout-2")
    assert [(f.subject, f.text) for f in found] == [
        ("checkout-2", 'server "be_checkout/chekout-2" does not exist; did you mean "be_checkout/checkout-2"?')
    ]


def test_a_missing_folder_of_maps_is_told(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "quell.toml", "/haproxy/maps", "/haproxy/nowhere")
    assert [f.subject for f in found] == ["adaptive.map", "knobs.map", "limits.map", "standing.map"]
    assert all("does not exist; HAProxy would forget" in f.text for f in found)


def test_a_limiter_that_counts_over_another_time_than_limits_are_learned_for_is_told(
    shop: Sandbox, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shop.config_folder, tmp_path / "config"))
    for file, old in (("quell.toml", 'window = "15s"  '), ("signals.yaml", "shop_client_requests_total[15s]")):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, old.replace("15s", "20s")))
    [found] = wrong(folder)
    assert found.subject == "standing limits"
    assert "counts gpc1_rate over 15 s, and standing_limits.window in quell.toml is 20 s" in found.text


def test_a_file_that_is_not_in_the_repository_is_told(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "services.yaml", "services/checkout-2.yaml", "services/checkout-9.yaml")
    assert [f.subject for f in found] == ["checkout"]
    assert "services/checkout-9.yaml not in" in found[0].text


def test_a_validator_that_does_not_exist_is_told(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "services.yaml", "deployments.sandbox.service, check", "no.such.module, check")
    assert [f.part for f in found] == ["repository"]
    assert "no.such.module" in found[0].text or "No module named" in found[0].text


def test_a_command_that_cannot_say_what_runs_is_told(shop: Sandbox, tmp_path: Path) -> None:
    """Without it drift is never seen, and nobody would know."""
    found = spoiled(shop, tmp_path, "services.yaml", ", --running]", ", --runing]")
    assert {f.part for f in found} == {"running"}
    assert found[0].text.startswith(f"running of {found[0].subject} failed (exit code 2): usage: deploy")


def test_a_commit_that_was_not_deployed_is_told(shop: Sandbox) -> None:
    file, person = shop.layout.settings_file("checkout-2"), Author(name="dana", email="dana@example.org")
    before = set_value(file, "payment_timeout_ms", 700)
    try:
        commit(shop.layout.repository, person, "a shorter timeout", paths=[str(file)])
        (found,) = wrong(shop.config_folder)
        assert (found.part, found.subject) == ("running", "checkout-2")
        assert re.fullmatch(r"checkout-2 runs commit \w{12} of services/checkout-2\.yaml, branch .*", found.text)
    finally:
        set_value(file, "payment_timeout_ms", before)
        commit(shop.layout.repository, person, "the timeout as it was", paths=[str(file)])
    assert wrong(shop.config_folder) == []


def test_a_secret_that_is_not_there_is_told_without_its_content(shop: Sandbox, tmp_path: Path) -> None:
    found = spoiled(shop, tmp_path, "people.yaml", "alice.totp", "alicia.totp")
    assert [(f.part, f.subject) for f in found] == [("secrets", "people.alice")]
    assert "No such file" in found[0].text


def test_parts_that_do_not_answer_are_one_finding_each(shop: Sandbox, tmp_path: Path) -> None:
    """With everything away there are as many findings as parts, not one for each signal and server."""
    port = shop.layout.port("prometheus")
    found = spoiled(
        shop, tmp_path, "quell.toml", f'prometheus = "http://127.0.0.1:{port}"', 'prometheus = "http://127.0.0.1:1"'
    )
    assert [(f.part, f.subject) for f in found] == [("prometheus", "prometheus")]
    assert "cannot be reached" in found[0].text


def test_the_actions_that_are_checked_offline_are_the_ones_that_the_actuator_has() -> None:
    haproxy = HAProxyActuator(socket="/nowhere", maps=None, state_file=None)
    configuration = ConfigurationActuator("configuration", ConfigurationSettings(), Catalog())
    assert {actuator.name: actuator.parameters() for actuator in (haproxy, configuration)} == ACTUATORS
    for actuator in (haproxy, configuration):
        assert list(actuator.parameters()) == list(actuator.actions())


def test_an_instance_that_prometheus_calls_otherwise_is_found(shop: Sandbox, tmp_path: Path) -> None:
    """All checks passed, and no alert of it would ever have found its server."""
    folder = Path(shutil.copytree(shop.config_folder, tmp_path / "config"))
    text = (folder / "services.yaml").read_text().replace("checkout-2:", "checkout-b:")
    (folder / "services.yaml").write_text(text)
    found = {f.subject: f.text for f in wrong(folder) if f.part == "prometheus"}
    assert set(found) == {"checkout-b"} and 'instance="checkout-b"' in found["checkout-b"]
    (said,) = [f.text for f in check_live(load_config(folder)) if f.subject == "instance-error-ratio"]
    assert said == "8 series; services.yaml has no instance checkout-2"


@pytest.mark.parametrize(
    ("file", "old", "new", "part", "said"),
    [
        ("quell.toml", 'prometheus_rules = "', 'prometheus_rules = "nowhere/', "prometheus", "does not exist: make it"),
        ("services.yaml", "reload: [python", "reload: [pyton", "repository", "reload: program pyton is neither in"),
        ("services.yaml", "branch: main", "branch: master", "repository", "branch master is not in .* (it has main)"),
        ("services.yaml", "probe: /health", "probe: /nope", "probe", "/nope answers HTTP 404; is it down"),
        ("playbooks/isolate-bad-instance.yaml", "[0.01,", "[0.001,", "haproxy", "too little for a share of 0.001"),
        ("quell.toml", 'policy = "quick"', 'policy = "quick"\nshares = [0.004]', "haproxy", "share of 0.004 (canary)"),
    ],
)
def test_what_would_only_show_in_an_incident_is_found_before_it(
    shop: Sandbox, tmp_path: Path, file: str, old: str, new: str, part: str, said: str
) -> None:
    """Each of these passed all checks: a first look at services of one's own has to tell."""
    found = [f.text for f in spoiled(shop, tmp_path, file, old, new) if f.part == part]
    assert found and all(re.search(re.escape(said).replace(r"\.\*", ".*"), text) for text in found)


def test_an_alertmanager_that_is_not_there_is_found(shop: Sandbox, tmp_path: Path) -> None:
    address = str(load_config(shop.config_folder).connections.alertmanager)
    (found,) = spoiled(shop, tmp_path, "quell.toml", f'"{address}"', '"http://127.0.0.1:9"')
    assert found.part == "alertmanager" and "http://127.0.0.1:9 cannot be reached" in found.text
