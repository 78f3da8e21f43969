"""The work pool: how a run's process is started, which nobody who may only start runs decides.

Prefect's own template lets whoever starts a run choose command and environment of its process
(PrefectHQ/prefect#17112). Ours has no variables: the server refuses job variables, a worker finds no place for them.
`env` must not stand in it at all: where it does, a worker merges a run's own into it.
"""

import json
from importlib.resources import files
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

POOL = "quell"
TEMPLATE_FILE = files("deployments") / "work_pool.json"


def restore_template(client: SyncPrefectClient) -> bool:
    """Give the pool its template back where somebody has changed it; whether that was so."""
    template: dict[str, Any] = json.loads(TEMPLATE_FILE.read_text())
    if client.read_work_pool(POOL).base_job_template == template:
        return False
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    return True
