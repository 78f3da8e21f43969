"""Standing limits in the sandbox: learned from its Prometheus, kept by its HAProxy, with its customers as clients."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.sandbox import Sandbox
from quell.config.load import load_config
from quell.incidents.decision import Answer, Decision
from quell.prevention.refusals import IN_FORCE, SHADOW
from tasks.question import text_hash
from tasks.refusals import refusals_of
from tasks.resources import Resources, open_resources
from tasks.shadow import watch_standing_limits
from tasks.standing import propose_of, study_standing
from tasks.standing_keep import RefusalMeter, keep_standing
from tasks.thresholds import promote_decided, revert_threshold

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    with (
        tempfile.TemporaryDirectory(prefix="quell-", dir="/tmp") as folder,
        Sandbox(Path(folder) / "s", find_base_port()) as sandbox,
    ):
        yield sandbox


def resources(shop: Sandbox) -> Resources:
    """The sandbox's own configuration; a day is shorter here."""
    res = open_resources(load_config(shop.config_folder))
    assert res.config.standing is not None
    policy = replace(res.config.standing, block=timedelta(seconds=5), least_blocks=4, shadow=timedelta(seconds=20))
    return replace(res, config=replace(res.config, standing=policy))


def eventually(claim: Callable[[], Any], within: float = 90.0) -> Any:
    deadline = time.monotonic() + within
    while not (value := claim()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(1)
    return value


def test_the_shops_customers_are_never_refused_and_a_flood_is_held(shop: Sandbox) -> None:
    """Real requests, real counters: Prometheus teaches, HAProxy refuses, the customers themselves say what they saw."""
    res = resources(shop)
    runner = CliRunner()
    eventually(lambda: study_standing(res).found.limits.keys() >= {"web", "mobile", "partner"})
    said = propose_of(res, study_standing(res))
    assert said == "THR-1"
    watch_standing_limits(res)
    shop.inject("noisy-client", client="importer", rate=300, seconds=300)
    time.sleep(25)
    watch_standing_limits(res)
    with res.store.reading() as tx:
        shadow, version = refusals_of(tx, SHADOW, "THR-1"), tx.thresholds.get("THR-1")
    assert shadow is not None and version is not None and version.clients is not None
    assert [name for name, _ in shadow.worst_first()][:1] == ["importer"]
    assert not any(shadow.clients[name].minutes for name in ("web", "mobile", "partner"))
    assert seen(shop, 5)["importer"]["denied"] == 0, "shadow refuses nobody"
    rule = text_hash(version.rule)
    with res.store.writing() as tx:
        tx.decisions.add(
            Decision(
                id="DEC-1", subject="THR-1", plan_hash=rule, person="carol", answer=Answer.APPROVE, channel="page",
                at=res.clock(),
            )
        )  # fmt: skip
    assert promote_decided(res) == ["THR-1"] and keep_standing(res) == []
    meter = RefusalMeter(res)
    time.sleep(16)  # the window: what was admitted before counts in it
    meter.look()
    time.sleep(20)
    clients = seen(shop, 15)
    meter.look()
    assert all(clients[name]["denied"] == 0 and clients[name]["ok"] > 50 for name in ("web", "mobile", "partner"))
    admitted = clients["importer"]["sent"] - clients["importer"]["denied"]
    assert admitted <= 2 * version.clients["NEW"] and clients["importer"]["denied"] > 1000
    with res.store.reading() as tx:
        refused = refusals_of(tx, IN_FORCE, "THR-1")
    assert refused is not None and refused.clients["importer"].refused > 1000
    assert set(dict(refused.worst_first())) <= {"importer", "OTHERS"}, "strangers take no named client's place"
    shown = runner.invoke(
        app, ["threshold", "clients", "THR-1", "--config", str(shop.config_folder)], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0 and "importer" in shown.stdout and "THR-1 active" in shown.stdout, shown.stdout
    revert_threshold(res, "THR-1", "dave", "try")
    time.sleep(3)
    assert eventually(lambda: seen(shop, 2)["importer"]["denied"] == 0, within=10)
    learned = runner.invoke(app, ["threshold", "clients", "--config", str(shop.config_folder)])
    assert learned.exit_code == 0 and "no standing limits can be learned: history has" in learned.stdout


def seen(shop: Sandbox, seconds: int) -> dict[str, Any]:
    return shop.load_seen(seconds)["clients"]
