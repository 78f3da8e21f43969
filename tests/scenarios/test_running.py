"""`quell up` beside a real shop: what a user gets from one command."""

import os
import re
import signal
from typing import Any

import httpx
import pytest

from deployments.sandbox.credentials import credentials

pytestmark = pytest.mark.scenario


def runs_of(quell: Any, flow: str, *states: str) -> list[dict[str, Any]]:
    """Runs of a flow in these states, as Prefect's server knows them."""
    query = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}},
        "sort": "START_TIME_DESC",
        "limit": 100,
    }
    return quell.prefect("POST", "/flow_runs/filter", query)


def test_a_scheduled_sweep_really_runs(running_quell: Any) -> None:
    """Health stays green when Prefect's scheduler fails in every loop: only a finished, scheduled run proves it."""

    def finished() -> list[dict[str, Any]] | None:
        return [r for r in runs_of(running_quell, "detection-sweep", "COMPLETED") if r["auto_scheduled"]] or None

    assert running_quell.wait_for("a scheduled sweep", finished, within=90)
    with running_quell.store.reading() as tx:
        sweep = tx.documents.get("sweep:last")
    assert sweep is not None and sweep.body["series"] > 0


def test_every_deployment_of_the_design_is_registered(running_quell: Any) -> None:
    deployments = running_quell.wait_for("them", lambda: running_quell.prefect("POST", "/deployments/filter", {}))
    found = {d["name"]: d for d in deployments}
    assert set(found) == {
        "detection-sweep",
        "refresh-baselines",
        "anomaly-review",
        "respond",
        "mitigate",
        "release",
        "resolve",
        "document-deployments",
        "review-incident",
        "recompute-thresholds",
        "watch-thresholds",
        "weekly-report",
        "drill",
        "reconcile",
    }
    assert all("/" not in d["entrypoint"] and ":" not in d["entrypoint"] for d in found.values())
    intervals = {name: d["schedules"][0]["schedule"].get("interval") for name, d in found.items() if d["schedules"]}
    assert intervals["detection-sweep"] == running_quell.config.intervals.sweep.total_seconds()
    assert found["detection-sweep"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


def test_a_killed_sweeper_comes_back_and_sweeps(running_quell: Any) -> None:
    """The sweep that it was in the middle of holds the deployment's only slot until the new process ends it."""
    pid = int(re.search(r"sweeper +process (\d+)", running_quell.log.read_text()).group(1))
    os.kill(pid, signal.SIGKILL)

    def swept() -> bool:
        done = runs_of(running_quell, "detection-sweep", "COMPLETED")
        return any(str(run["infrastructure_pid"]).split(":")[1:2] not in ([], [str(pid)]) for run in done)

    assert running_quell.wait_for("a sweep of the new process", swept, within=90)
    assert "starting it again in 1 s" in running_quell.log.read_text().replace("\n", "")


def test_a_killed_responder_comes_back_and_answers_what_came_in_meanwhile(running_quell: Any) -> None:
    """Acknowledged means durable: the alert is taken by the gateway while nobody is there to answer it."""
    pid = int(re.search(r"responder +process (\d+)", running_quell.log.read_text()).group(1))
    os.kill(pid, signal.SIGKILL)
    alert = {
        "labels": {"alertname": "DiskFull", "service": "catalog", "instance": "catalog-1", "severity": "minor"},
        "annotations": {"summary": "the disk of catalog-1 is nearly full"},
    }
    url = f"{running_quell.config.gateway_url}/api/v1/alerts"
    assert httpx.post(url, json=[alert], timeout=10).status_code == 401, "the shop's senders have tokens"
    headers = credentials(running_quell.sandbox.layout.secrets, "alertmanager")
    assert httpx.post(url, json=[alert], headers=headers, timeout=10).is_success

    def answered() -> Any:
        with running_quell.store.reading() as tx:
            return next((i for i in tx.incidents.find({"service": "catalog"}) if "respond" in i.flow_runs), None)

    incident = running_quell.wait_for("an answer from the new responder", answered, within=60)
    with running_quell.store.reading() as tx:
        kinds = [entry.kind for entry in tx.timeline.of(incident.id)]
        assert tx.mitigations.count({"incident": incident.id}) == 0, "no playbook of the shop answers a full disk"
    assert kinds[0] == "incident opened" and kinds[-1].startswith("plan"), kinds
    assert f"starting it again in 1 s (log: {running_quell.log.parent}/quell/logs/responder.log)" in (
        running_quell.log.read_text().replace("\n", "")
    )
