"""From a fault in the sandbox's shop to users who see no more errors: through Alertmanager, and through sweeps alone.

The clock starts when an instance of checkout begins to fail most of its requests and stops with the last second in
which the load generator, which knows nothing of Quell, saw an error. The automatic path: the isolating playbook is
trusted and asks nobody, and two kinds of evidence are still needed. Everything is real: HAProxy, Prometheus (1 s
scrape), Alertmanager, Prefect, `quell up`.
"""

import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.running_shop import fit_baselines, quell_up
from deployments.sandbox.layout import find_base_port
from deployments.sandbox.sandbox import Sandbox
from deployments.sandbox.supervisor import control
from quell.adapters.store.sql import SqlStore
from quell.incidents.alert import AlertStatus
from quell.incidents.incident import Incident
from quell.incidents.mitigation import Mitigation, MitigationState

CALM_SECONDS = 75
GIVE_UP_SECONDS = 90
QUIET_SECONDS = 4  # without an error, then it is over
BAD = "checkout-2"
_RULE = """
groups:
  - name: fast
    rules:
      - alert: InstanceFailing
        expr: >-
          sum by (service, instance) (rate(shop_requests_total{code=~"5.."}[3s]))
          / sum by (service, instance) (rate(shop_requests_total[3s])) > 0.3
        for: 1s
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.instance }} fails"}
"""


def run(path: str, faults: int) -> dict[str, Any]:
    """`path` is `alertmanager` or `sweeps`; a fault after the other, each contained, cleared and released."""
    with tempfile.TemporaryDirectory(prefix="qs-") as name:
        folder, base = Path(name), find_base_port()
        with Sandbox(folder / "shop", base_port=base) as sandbox:
            _configure(sandbox.config_folder, sweeps=path == "sweeps")
            if path == "alertmanager":
                (sandbox.layout.folder / "prometheus" / "rules" / "fast.yml").write_text(_RULE)
                httpx.post(f"{sandbox.layout.url('prometheus')}/-/reload", trust_env=False).raise_for_status()
            began = time.monotonic()
            with quell_up(sandbox, folder, base) as store:
                time.sleep(max(CALM_SECONDS - (time.monotonic() - began), 0))
                fit_baselines(base)
                cases = [_one_fault(sandbox, store) for _ in range(faults)]
    return {"path": path, "faults": len(cases), **_figures(cases)}


def _configure(config: Path, *, sweeps: bool) -> None:
    """The isolating playbook asks nobody; sweeps run every 3 s, or (as good as) never."""
    book = config / "playbooks" / "isolate-bad-instance.yaml"
    text = book.read_text().replace("above_capacity_share: 0.25", "above_capacity_share: 0.5")
    text = text.replace("successes: 3", "successes: 0").replace("cooldown: 5m", "cooldown: 1s")
    text = text.replace("per_hour: 6", "per_hour: 1000").replace("hold: 15s", "hold: 5s")
    book.write_text(text)
    for other in ("drain-zone", "adaptive-throttle", "shed-load"):  # what would ask a person instead
        (config / "playbooks" / f"{other}.yaml").unlink(missing_ok=True)
    toml = (config / "quell.toml").read_text().replace("most_active = 5", "most_active = 50")
    toml = toml.replace("per_hour = 20", "per_hour = 1000")
    toml = re.sub(r'sweep = "[^"]*"', f'sweep = "{"3s" if sweeps else "1h"}"', toml)
    (config / "quell.toml").write_text(toml)


def _one_fault(sandbox: Sandbox, store: SqlStore) -> dict[str, Any]:
    began, started = time.time(), datetime.now(UTC)
    sandbox.inject("errors", instance=BAD, share=0.9, seconds=3 * GIVE_UP_SECONDS)
    last_error = _last_error(sandbox, began)
    mitigation = _wait(lambda: _judged(store, started), 60)
    sandbox.clear("errors", BAD)
    incident = _incident(store, mitigation)
    if mitigation is not None:
        _release(sandbox, mitigation.id)
    _wait(lambda: not _active(store), 120)
    time.sleep(12)  # the rates of what was before leave the windows
    return {
        "seconds": last_error - began if last_error else None,
        "opened_by": incident.opened_by if incident else "nobody",
        "applied_s": mitigation.applied_at.timestamp() - began if mitigation and mitigation.applied_at else None,
        "ended": mitigation.recovery if mitigation else "none",
    }


def _last_error(sandbox: Sandbox, began: float) -> float | None:
    """When the load generator saw its last error, once some seconds passed without any; None when it goes on."""
    while time.time() - began < GIVE_UP_SECONDS:
        seen = control(sandbox.layout, "GET", "/load?seconds=100&series=1")["series"]
        since = [second for second in seen if second["at"] > began]
        bad = [second["at"] for second in since if second["errors"]]
        if bad and since[-1]["at"] - bad[-1] >= QUIET_SECONDS:
            return float(bad[-1])
        time.sleep(0.5)
    return None


def _judged(store: SqlStore, since: datetime) -> Mitigation | None:
    with store.reading() as tx:
        found = tx.mitigations.find(after=("created_at", since))
    return next((m for m in found if m.recovery is not None), None)


def _incident(store: SqlStore, mitigation: Mitigation | None) -> Incident | None:
    if mitigation is None or mitigation.incident is None:
        return None
    with store.reading() as tx:
        return tx.incidents.get(mitigation.incident)


def _active(store: SqlStore) -> bool:
    with store.reading() as tx:
        fires = tx.alerts.count({"status": AlertStatus.FIRING}) > 0
        return fires or any(m.state is not MitigationState.UNDONE for m in tx.mitigations.find())


def _release(sandbox: Sandbox, id: str) -> None:
    command = [sys.executable, "-m", "deployments.cli.main", "release", id, "--at-once", "--by", "carol"]
    command += ["--config", str(sandbox.config_folder)]
    subprocess.run(command, check=False, capture_output=True, timeout=60)


def _wait(what: Any, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found


def _figures(cases: list[dict[str, Any]]) -> dict[str, Any]:
    known = [case["seconds"] for case in cases if case["seconds"] is not None]
    return {
        "contained": len(known),
        "median_s": float(np.median(known)) if known else None,
        "worst_s": max(known, default=None),
        "applied_median_s": _median(cases, "applied_s"),
        "opened_by": sorted({case["opened_by"] for case in cases}),
        "effective": sum(case["ended"] == "effective" for case in cases),
    }


def _median(cases: list[dict[str, Any]], name: str) -> float | None:
    known = [case[name] for case in cases if case[name] is not None]
    return float(np.median(known)) if known else None
