"""The work pools: how a run is started, which nobody who may only start runs decides.

Prefect's own template lets whoever starts a run choose command and environment of its process
(PrefectHQ/prefect#17112). Ours has no variables: the server refuses job variables, a worker finds no place for them.
`env` must not stand in it at all: where it does, a worker merges a run's own into it.
"""

import json
from importlib.resources import files
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

POOL = "quell"
SWEEP_POOL = "quell-sweeps"  # what comes every few seconds: run by the sweeper in its own process
SWEEPER_TYPE = "quell-sweeper"
TEMPLATE_FILE = files("deployments") / "work_pool.json"


def create_sweep_pool(client: SyncPrefectClient) -> None:
    """Create the sweeper's pool where it is not there yet. Prefect's command line refuses types it does not know."""
    try:
        client.read_work_pool(SWEEP_POOL)
    except ObjectNotFound:
        what = "Sweeps and upkeep, run by the sweeper in its own process"
        pool = WorkPoolCreate(name=SWEEP_POOL, type=SWEEPER_TYPE, description=what, base_job_template=_template())
        client.create_work_pool(pool)


def restore_template(client: SyncPrefectClient) -> bool:
    """Give the pools their template back where somebody has changed it; whether that was so."""
    template = _template()
    changed = [name for name in (POOL, SWEEP_POOL) if client.read_work_pool(name).base_job_template != template]
    for name in changed:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return bool(changed)


def _template() -> dict[str, Any]:
    return json.loads(TEMPLATE_FILE.read_text())
