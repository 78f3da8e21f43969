"""Victims: processes that do one piece of work on a mitigation and stand still at one boundary, to be killed there."""

import time
from typing import Any

from benchmarks.kill_ground import ZONE, Boundaries, Ground, resources
from tasks.effect import apply_mitigation, undo_mitigation
from tasks.planning import plan_for_incident, plan_manual
from tasks.reconciliation import reconcile_all
from tasks.recovery import judge_once
from tasks.release import release_mitigation
from tasks.resources import Resources

ANSWER_SECONDS = 60


def victim(ground: Ground, work: str, subject: str, stop_at: int | str, pipe: Any) -> None:
    """Do the work; wait at the boundary with this number or name (0: none), or say what was passed."""
    boundaries = Boundaries(
        stop_at=stop_at if isinstance(stop_at, int) else 0,
        stop_on=stop_at if isinstance(stop_at, str) else "",
        tell=lambda name: pipe.send(("here", name)),
        wait=lambda: pipe.poll(2 * ANSWER_SECONDS),
    )
    res = resources(ground, boundaries)
    try:
        do_work(res, work, subject, ground.api)
    except Exception as error:  # noqa: BLE001 - the parent must learn it
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        pipe.send(("done", boundaries.names))


def do_work(res: Resources, work: str, subject: str, api: str = "") -> None:
    match work:
        case "respond":
            planned = plan_for_incident(res, subject)
            assert planned is not None
            apply_mitigation(res, planned.id)
            judge_once(res, planned.id)
        case "mitigate":
            planned = plan_manual(res, "drain-zone", "checkout", ZONE, None, "bob", "kill test", flow_run=subject)
            apply_mitigation(res, planned.id)
        case "mitigate flow":
            _run_flow(res, subject, api)
        case "undo":
            undo_mitigation(res, subject, "bob", "kill test")
        case "release":
            release_mitigation(res, subject, "bob", "kill test", sleep=lambda _seconds: time.sleep(0.05))
        case _:
            reconcile_all(res)


def _run_flow(res: Resources, subject: str, api: str) -> None:
    """The mitigate flow as a worker runs it."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    import tasks.mitigation
    from flows.response import mitigate
    from tasks.forms import MitigationRequest

    tasks.mitigation.resources = lambda: res
    with temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 1}):
        mitigate(MitigationRequest.model_validate({"mitigation": subject, "dry_run": False}))
