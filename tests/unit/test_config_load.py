"""The loader: the example is right, and every mistake is told with file, line, key and the nearest valid name."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from quell.config.load import load_config, read_config
from quell.config.problem import ConfigError
from quell.config.query import metrics_of
from quell.config.value import parse_duration
from quell.incidents.errors import InvalidInput
from quell.incidents.signal import Direction, SignalKind

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
ISOLATE = "playbooks/isolate-bad-instance.yaml"
FIRST = (EXAMPLE / "services.yaml").read_text().partition("      checkout-1: {server")[0].count("\n") + 1
THROTTLE = "playbooks/throttle-noisy-client.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


def spoil(folder: Path, file: str, old: str, new: str) -> int:
    """Replace the first occurrence of `old`; returns the line on which it stood."""
    text = (folder / file).read_text()
    assert old in text, f"{old!r} is not in {file}"
    (folder / file).write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_the_example_is_in_order() -> None:
    config = load_config(EXAMPLE)
    assert list(config.catalog.services) == ["storefront", "checkout", "payment", "catalog"]
    assert config.catalog.dependencies("storefront") == {"checkout", "catalog", "payment"}
    instance = config.catalog.instance("checkout-2")
    assert instance is not None and instance.server == "be_checkout/checkout-2"
    assert config.connections.prometheus == "http://127.0.0.1:7450"
    assert config.gateway_url == "http://127.0.0.1:7460"
    signal = config.signals["instance-error-ratio"]
    assert (signal.kind, signal.direction, signal.step) == (
        SignalKind.ERROR_RATIO,
        Direction.HIGH,
        timedelta(seconds=5),
    )
    assert config.signals["shop-traffic"].direction is Direction.BOTH
    playbook = config.playbooks["isolate-bad-instance"]
    assert playbook.approval.above_capacity_share == 0.25 and playbook.limits.capacity_floor == 0.5
    assert playbook.matchers[0].matches({"service": "checkout"})
    assert config.people["carol"].roles == ("analyst",)
    repository = config.catalog.services["checkout"].repository
    assert repository is not None and repository.files["checkout-2"] == "services/checkout-2.yaml"
    assert repository.validate == ("python", "-m", "deployments.sandbox.service", "check", "{file}")


# file, what stands there, what is written instead, the message after `file:line: `
MISTAKES = {
    "unknown key in TOML": (
        "quell.toml", 'store = "sqlite', 'stoer = "sqlite',
        'connections.stoer: unknown key; did you mean "store"?',
    ),
    "unknown table in TOML": (
        "quell.toml", "[intervals]", "[interval]", 'interval: unknown key; did you mean "intervals"?',
    ),
    "duration without a unit": (
        "quell.toml", 'timeout = "5s"', "timeout = 5",
        'connections.timeout: duration 5 has no unit: write "5s" if seconds are meant',
    ),
    "duration in words": (
        "quell.toml", 'reconcile = "15s"', 'reconcile = "5 minutes"',
        'intervals.reconcile: duration "5 minutes" cannot be read: write numbers with ms, s, m, h, d or w, as in "30s"',
    ),
    "duration of nothing": (
        "quell.toml", 'reconcile = "15s"', 'reconcile = "0s"', "intervals.reconcile: must be longer than 0s (is 0s)",
    ),
    "number below its limit": (
        "quell.toml", "shard_size = 2000", "shard_size = 0",
        "detection.shard_size: should be greater than or equal to 1 (is 0)",
    ),
    "a Dask scheduler without a port": (
        "quell.toml", "confirm_sweeps = 1", 'dask_scheduler = "tcp://dask.example"',
        'detection.dask_scheduler: "tcp://dask.example" is not the address of a Dask scheduler: write tcp://HOST:PORT '
        "(or tls://HOST:PORT)",
    ),
    "a Dask scheduler that is a web page": (
        "quell.toml", "confirm_sweeps = 1", 'dask_scheduler = "http://127.0.0.1:8787"',
        'detection.dask_scheduler: "http://127.0.0.1:8787" is not the address of a Dask scheduler: write '
        "tcp://HOST:PORT (or tls://HOST:PORT)",
    ),
    "a Dask scheduler with a port that is none": (
        "quell.toml", "confirm_sweeps = 1", 'dask_scheduler = "tcp://127.0.0.1:x"',
        "detection.dask_scheduler: is not a URL: Port could not be cast to integer value as 'x'",
    ),
    "port out of range": (
        "quell.toml", "gateway_port = 7460", "gateway_port = 74600",
        "connections.gateway_port: should be less than or equal to 65535 (is 74600)",
    ),
    "a remote of rules without its branch": (
        "quell.toml", "[connections]", '[connections]\nprometheus_rules_remote = "origin"',
        "connections: has prometheus_rules_remote and no prometheus_rules_branch: name the branch, as main",
    ),
    "a branch of rules without their folder": (
        "quell.toml", 'prometheus_rules = ".quell/sandbox/prometheus/rules"', 'prometheus_rules_branch = "main"',
        "connections: has prometheus_rules_branch and no prometheus_rules: name the folder, with that branch",
    ),
    "unknown store": (
        "quell.toml", "sqlite:///.quell/sandbox/quell.db", "mysql://db/quell",
        'connections.store: "mysql" is not a store that Quell can use (known: sqlite, postgresql+psycopg)',
    ),
    "password in the store's address": (
        "quell.toml", "sqlite:///.quell/sandbox/quell.db", "postgresql+psycopg://quell:hunter2@db/quell",
        "connections.store: holds a password; write env:NAME or file:PATH, and keep the whole URL there",
    ),
    "literal notification address": (
        "notifications.yaml", "\nreceivers: {}", '\nreceivers: {chat: {urls: ["slack://hunter2"]}}',
        "receivers.chat.urls[0]: holds a secret; write env:NAME or file:PATH, and keep the secret there",
    ),
    "route to an unknown receiver": (
        "notifications.yaml", "routes: []", "routes: [{receivers: [chta]}]",
        'routes[0].receivers[0]: receiver "chta" is not defined (none is defined)',
    ),
    "route by an unknown label": (
        "notifications.yaml", "routes: []", "routes: [{match: '{servcie=\"checkout\"}', receivers: []}]",
        'routes[0].match: label "servcie" is not defined; did you mean "service"?',
    ),
    "route by a severity that never comes": (
        "notifications.yaml", "routes: []", "routes: [{match: '{severity=\"warning\"}', receivers: []}]",
        'routes[0].match: severity "warning" is not defined (defined: critical, major, minor)',
    ),
    "placeholder of a link": (
        "notifications.yaml", "  metrics: ", "  logs: https://logs.example/?q={servcie}\n  metrics: ",
        'links.logs: placeholder "servcie" is not defined; did you mean "service"?',
    ),
    "placeholder of a service's link": (
        "services.yaml", "      metrics: ", "      logs: https://logs.example/?q={instnce}\n      metrics: ",
        'services.storefront.links.logs: placeholder "instnce" is not defined; did you mean "instance"?',
    ),
    "literal one-time secret": (
        "people.yaml", "file:.quell/sandbox/secrets/alice.totp", "JBSWY3DPEHPK3PXP",
        "people.alice.totp_secret: holds a secret; write env:NAME or file:PATH, and keep the secret there",
    ),
    "dependency on an unknown service": (
        "services.yaml", "depends_on: [payment]", "depends_on: [paymnt]",
        'services.checkout.depends_on[0]: service "paymnt" is not defined; did you mean "payment"?',
    ),
    "dependency on itself": (
        "services.yaml", "depends_on: [payment]", "depends_on: [checkout]",
        'services.checkout.depends_on[0]: service "checkout" depends on itself',
    ),
    "unknown key of an instance": (
        "services.yaml", "checkout-2: {server:", "checkout-2: {sever:",
        'services.checkout.instances.checkout-2.sever: unknown key; did you mean "server"?',
    ),
    "unknown key of a repository": (
        "services.yaml", "      branch: main", "      barnch: main",
        'services.storefront.repository.barnch: unknown key; did you mean "branch"?',
    ),
    "server without its backend": (
        "services.yaml", "be_checkout/checkout-2", "checkout-2",
        'services.checkout.instances.checkout-2.server: "checkout-2" is not a server: '
        "write backend/server as HAProxy names them",
    ),
    "one server for two instances": (
        "services.yaml", "be_checkout/checkout-2", "be_checkout/checkout-1",
        'services.checkout.instances.checkout-2.server: server "be_checkout/checkout-1" already belongs to instance '
        '"checkout-1"',
    ),
    "instance written twice": (
        "services.yaml", "checkout-2: {server: be_checkout/checkout-2", "checkout-1: {server: be_checkout/checkout-2",
        f"services.checkout.instances.checkout-1: is written twice (first on line {FIRST}); the second would silently "
        "win",
    ),
    "instance of two services": (
        "services.yaml", "payment-2: {server", "checkout-3: {server",
        'services.payment.instances.checkout-3: instance "checkout-3" is already defined by service "checkout"',
    ),
    "file of an unknown instance": (
        "services.yaml", "checkout-3: services", "chekout-3: services",
        'services.checkout.repository.files.chekout-3: instance "chekout-3" is not defined; '
        'did you mean "checkout-3"?',
    ),
    "unknown placeholder in a command": (
        "services.yaml", 'check, "{file}"]', 'check, "{flie}"]',
        'services.storefront.repository.validate[4]: placeholder "flie" is not defined; did you mean "file"?',
    ),
    "unknown placeholder in a trial": (
        "services.yaml", '.quell/sandbox, "{tree}"', '.quell/sandbox, "{tre}"',
        'services.storefront.repository.trial[4]: placeholder "tre" is not defined; did you mean "tree"?',
    ),
    "a trial that would deploy": (
        "services.yaml",
        'deployments.sandbox.trial, .quell/sandbox, "{tree}", "{instance}"',
        'deployments.sandbox.deploy, .quell/sandbox, "{instance}"',
        "services.storefront.repository.trial: trial is the command that puts a change into force: a trial must not "
        "touch what users reach",
    ),
    "missing key": (
        "services.yaml", "    team: platform\n", "", "services.payment.team: is required and missing",
    ),
    "signal of an unknown service": (
        "signals.yaml", "service: storefront", "service: storfront",
        'signals.shop-error-ratio.service: service "storfront" is not defined; did you mean "storefront"?',
    ),
    "unknown kind": (
        "signals.yaml", "kind: latency", "kind: latencey",
        'signals.instance-latency-p99.kind: "latencey" is not one of error_ratio, latency, traffic, saturation, other; '
        'did you mean "latency"?',
    ),
    "bad unit": (
        "signals.yaml", "unit: seconds", "unit: secs",
        'signals.instance-latency-p99.unit: unit of kind latency "secs" is not defined; did you mean "seconds"?',
    ),
    "unit of another kind": (
        "signals.yaml", "unit: ratio", "unit: bytes",
        'signals.instance-error-ratio.unit: unit of kind error_ratio "bytes" is not defined (defined: ratio)',
    ),
    "bad step": (
        "signals.yaml", "step: 5s", "step: fast",
        'signals.instance-error-ratio.step: duration "fast" cannot be read: '
        'write numbers with ms, s, m, h, d or w, as in "30s"',
    ),
    "negative effect": (
        "signals.yaml", "min_effect: 0.05", "min_effect: -1",
        "signals.instance-error-ratio.min_effect: should be greater than or equal to 0 (is -1)",
    ),
    "unknown key of grouping": (
        "routing.yaml", "reopen: 5m", "re_open: 5m", 'grouping.re_open: unknown key; did you mean "reopen"?',
    ),
    "playbook names an unknown signal": (
        ISOLATE, "signal: shop-error-ratio", "signal: shop-eror-ratio",
        'recovery.signal: signal "shop-eror-ratio" is not defined; did you mean "shop-error-ratio"?',
    ),
    "recovery by a signal that isolation silences": (
        ISOLATE, "signal: shop-error-ratio", "signal: instance-error-ratio",
        'recovery.signal: signal "instance-error-ratio" is not user_facing; recovery is judged by what users see',
    ),
    "unknown actuator": (
        ISOLATE, "actuator: haproxy", "actuator: haproxi",
        'steps[0].actuator: actuator "haproxi" is not defined; did you mean "haproxy"?',
    ),
    "unknown action": (
        ISOLATE, "action: isolate", "action: isolat",
        'steps[0].action: action of actuator haproxy "isolat" is not defined; did you mean "isolate"?',
    ),
    "unknown parameter": (
        THROTTLE, "requests_per_second: 20 #", "requests_per_second: 20\n      burst: 5 #",
        'steps[0].params.burst: parameter of throttle "burst" is not defined (defined: requests_per_second)',
    ),
    "missing parameter": (
        THROTTLE, "      requests_per_second: 20 #", "      {} #",
        "steps[0].params: action throttle needs the parameter requests_per_second",
    ),
    "placeholder of another target": (
        ISOLATE, '"{server}"', '"{client}"',
        'steps[0].target: placeholder "client" is not defined (defined: instance, server, service, target)',
    ),
    "unknown role": (
        ISOLATE, "roles: [approver]", "roles: [aprover]",
        'approval.roles[0]: role "aprover" is not defined; did you mean "approver"?',
    ),
    "unknown kind of target": (
        ISOLATE, "target_kind: instance", "target_kind: instanse",
        'target_kind: "instanse" is not one of instance, client, service, zone; did you mean "instance"?',
    ),
    "bad matcher": (
        ISOLATE, "'{service=~\".+\"}'", "'{service~checkout}'",
        "match: matcher '{service~checkout}' cannot be read at 'service~checkout': "
        'write name="value", with =, !=, =~ or !~',
    ),
    "share above one": (
        ISOLATE, "above_capacity_share: 0.25", "above_capacity_share: 25",
        "approval.above_capacity_share: should be less than or equal to 1 (is 25)",
    ),
    "hold longer than the deadline": (
        ISOLATE, "hold: 15s", "hold: 5m", "recovery.hold: hold 5m must be shorter than deadline 2m",
    ),
    "playbook defined twice": (
        THROTTLE, "name: throttle-noisy-client", "name: isolate-bad-instance",
        'name: playbook "isolate-bad-instance" is already defined in FOLDER/' + ISOLATE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_file_line_key_and_nearest_name(folder: Path, case: str) -> None:
    file, old, new, message = MISTAKES[case]
    line = spoil(folder, file, old, new)
    if case in LINE_OFFSETS:
        line += LINE_OFFSETS[case]
    assert f"{file}:{line}: {message}".replace("FOLDER", str(folder)) in problems(folder)


# where the key that is named does not stand on the line that was changed
LINE_OFFSETS = {
    "a branch of rules without their folder": -5,  # the table is at fault, not the line
    "literal notification address": 1,  # the text begins with the line break before it
    "missing key": -1,  # a key that is not there is reported at the one around it
    "unknown parameter": 1,
    "missing parameter": -1,
}


def test_all_problems_of_all_files_are_told_at_once(folder: Path) -> None:
    spoil(folder, "quell.toml", 'store = "sqlite', 'stoer = "sqlite')
    spoil(folder, "services.yaml", "depends_on: [payment]", "depends_on: [paymnt]\n    ownr: bob")
    spoil(folder, ISOLATE, "action: isolate", "action: isolat")
    assert [line.split(": ")[1] for line in problems(folder)] == [
        "steps[0].action", "connections.store", "connections.stoer", "services.checkout.depends_on[0]",
        "services.checkout.ownr",
    ]  # fmt: skip


def test_a_secret_written_literally_is_never_repeated(folder: Path) -> None:
    spoil(folder, "people.yaml", "file:.quell/sandbox/secrets/alice.totp", "JBSWY3DPEHPK3PXP")
    spoil(folder, "quell.toml", "sqlite:///.quell/sandbox/quell.db", "postgresql+psycopg://quell:hunter2@db/quell")
    text = "\n".join(problems(folder))
    assert "JBSWY3DPEHPK3PXP" not in text and "hunter2" not in text


def test_a_syntax_error_in_toml_names_its_line(folder: Path) -> None:
    line = spoil(folder, "quell.toml", 'reconcile = "15s"', 'reconcile = "15s')
    assert problems(folder)[0].startswith(f"quell.toml:{line}: is not TOML: ")


def test_a_key_written_twice_in_toml_names_its_line(folder: Path) -> None:
    line = spoil(folder, "quell.toml", 'reconcile = "15s"', 'reconcile = "15s"\nreconcile = "6s"')
    assert problems(folder) == [f"quell.toml:{line + 1}: is not TOML: Cannot overwrite a value"]


def test_a_syntax_error_in_yaml_names_its_line_and_hides_what_would_follow_from_it(folder: Path) -> None:
    """An unreadable services.yaml must not report every service that other files name as unknown."""
    line = spoil(folder, "services.yaml", "description: Talks to the bank.", "description: Talks: to the bank.")
    assert problems(folder) == [f"services.yaml:{line}: is not YAML: mapping values are not allowed here"]


def test_a_missing_file_says_where_to_copy_it_from(folder: Path) -> None:
    (folder / "signals.yaml").unlink()
    assert problems(folder) == ["signals.yaml:1: does not exist; copy it from deployments/config.example"]


def test_a_missing_folder_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"does not exist; copy deployments/config\.example, or name yours with"):
        read_config(tmp_path / "nowhere")


def test_a_misspelt_file_name_is_not_silence(folder: Path) -> None:
    (folder / "people.yaml").rename(folder / "peoples.yaml")
    assert 'peoples.yaml:1: nothing reads this file; did you mean "people.yaml"?' in problems(folder)


def test_a_playbook_with_the_other_ending_is_not_silence(folder: Path) -> None:
    (folder / THROTTLE).rename(folder / "playbooks/throttle.yml")
    assert problems(folder) == ["playbooks/throttle.yml:1: nothing reads this file; name it .yaml"]


def test_an_anchor_that_contains_itself_is_refused(folder: Path) -> None:
    (folder / "routing.yaml").write_text("grouping: &a\n  window: *a\n")
    assert "routing.yaml:2: grouping.window: the anchor contains itself" in problems(folder)


def test_an_empty_file_is_told_as_what_it_lacks(folder: Path) -> None:
    (folder / "services.yaml").write_text("# nothing yet\n")
    assert "services.yaml:1: services: is required and missing" in problems(folder)


def test_routing_and_people_may_be_left_out(folder: Path) -> None:
    (folder / "routing.yaml").unlink()
    (folder / "people.yaml").unlink()
    shutil.rmtree(folder / "playbooks")
    config = read_config(folder)
    assert config.grouping.window == timedelta(minutes=10) and not config.people and not config.playbooks


def test_a_connection_by_reference_is_looked_up_only_when_it_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(folder, "quell.toml", '"sqlite:///.quell/sandbox/quell.db"', '"env:QUELL_TEST_STORE"')
    monkeypatch.delenv("QUELL_TEST_STORE", raising=False)
    assert read_config(folder).connections.store == "env:QUELL_TEST_STORE"
    with pytest.raises(
        ConfigError, match=r"connections\.store: environment variable QUELL_TEST_STORE is not set; env:QUELL"
    ):
        load_config(folder)
    monkeypatch.setenv("QUELL_TEST_STORE", "postgresql+psycopg://quell:hunter2@db/quell")
    config = load_config(folder)
    assert config.connections.store == "postgresql+psycopg://quell:hunter2@db/quell"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("14d", 1209600), ("1h30m", 5400), ("100ms", 0.1)]
)
def test_durations_are_written_as_prometheus_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "5 s", "-5s", "s", "1y", "5S"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("query", "metrics"),
    [
        ("up", ("up",)),
        ('sum by (s) (rate(a_total{code=~"5.."}[10s])) / on (s) group_left () b:c', ("a_total", "b:c")),
        ("histogram_quantile(0.99, sum(rate(x_bucket[15s] offset 5m))) > 1e5 and bool_m", ("x_bucket", "bool_m")),
        ("a - a # and a comment", ("a",)),
    ],
)  # fmt: skip
def test_the_metrics_of_a_query_are_found(query: str, metrics: tuple[str, ...]) -> None:
    assert metrics_of(query) == metrics
