"""Resolution for flows: each task is one step of a fix's life; the work is in resolution, fix_build and fix_approval.

Tasks are never cached: a run that comes back from waiting reads the store again.
"""

from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.fix import Fix, FixState
from tasks.artifacts import publish
from tasks.fix import get_fix
from tasks.forms import FixRequest
from tasks.record import get_incident
from tasks.resolution import (
    apply_fix_of,
    close_of,
    judge_fix_of,
    prepare_fix_of,
    promote_fix_of,
    reconcile_fixes,
    roll_back_of,
)
from tasks.resolution_report import show_fix, show_resolution
from tasks.resources import Resources, resources
from tasks.runs import current_run_id, has_waited
from tasks.waking import start_left, wake_over


@task(name="settle fixes", task_run_name="settle fixes", cache_policy=NO_CACHE)
def settle_fixes() -> list[str]:
    """Finish or take back the fixes that a dead process left; one sentence for each."""
    res = resources()
    sentences = [*reconcile_fixes(res), *start_left(res)]
    wake_over(res)
    if sentences:
        text = "\n".join(f"- {sentence}" for sentence in sentences)
        publish("reconcile fixes", f"## Settled\n\n{text}", "Fixes that a dead process left")
    return sentences


@task(name="prepare the fix", task_run_name="prepare the fix of {incident}", cache_policy=NO_CACHE)
def prepare_fix(incident: str, request: FixRequest) -> str | None:
    """Undo the commit behind the incident, or do what a person asks for, on a branch; prove the guard, validate."""
    res = resources()
    mine = _fix_of_this_run(res, incident)
    if mine is not None and mine.state is FixState.REVERTED and has_waited():  # taken back while the run waited
        show_resolution(res, incident, mine.id)
        return None
    is_open = mine is not None and mine.state is not FixState.REVERTED
    fix = prepare_fix_of(res, incident, None if is_open else request)
    if fix is None:
        show_resolution(res, incident)
        return None
    remember_fix_run(res, fix)
    if not has_waited():  # a run that comes back has shown it
        show_fix(res, fix)
    return fix.id


@task(name="apply the fix", task_run_name="apply {fix}", cache_policy=NO_CACHE)
def apply_fix(fix: str) -> bool:
    """Commit, merge, reload, confirm. Whether the fix is in force."""
    res = resources()
    applied = apply_fix_of(res, fix)
    is_in_force = applied.state in (FixState.VALIDATED, FixState.CANARY, FixState.PROMOTED)
    if not is_in_force:
        show_resolution(res, applied.incident, fix)
    return is_in_force


@task(name="judge the canary", task_run_name="judge the canary of {fix}", cache_policy=NO_CACHE)
def judge_fix(fix: str) -> tuple[str, str]:
    """Run the canary: its verdict and the reason."""
    result = judge_fix_of(resources(), fix)
    return result.verdict.value, result.reason


@task(name="promote the fix", task_run_name="promote {fix}", cache_policy=NO_CACHE)
def promote_fix(fix: str, why: str) -> None:
    """Release the containment; the mended instance serves fully again."""
    promote_fix_of(resources(), fix, why)


@task(name="take the fix back", task_run_name="take {fix} back", cache_policy=NO_CACHE)
def roll_back_fix(fix: str, why: str) -> None:
    """Contain again, take the fix back, hand over."""
    res = resources()
    show_resolution(res, roll_back_of(res, fix, why).incident, fix)


@task(name="close the incident", task_run_name="close the incident of {fix}", cache_policy=NO_CACHE)
def close_incident(fix: str) -> str:
    """Judge by what users see; the incident's state."""
    res = resources()
    incident = close_of(res, fix)
    show_resolution(res, incident.id, fix)
    return incident.state.value


def _fix_of_this_run(res: Resources, incident: str) -> Fix | None:
    """The fix that this run has in hand, where it comes back from waiting or is run again."""
    run = current_run_id()
    with res.store.reading() as tx:
        found = tx.fixes.find({"incident": incident}) if run else []
    return max((fix for fix in found if fix.flow_run == run), key=lambda fix: fix.created_at, default=None)


def remember_fix_run(res: Resources, fix: Fix) -> None:
    """The fix and its incident link to the run that carries it out, so that an answer on a page can wake it."""
    run = current_run_id()
    if run is None:
        return
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), flow_run=run))
        incident = get_incident(tx, fix.incident)
        tx.incidents.put(replace(incident, flow_runs={**incident.flow_runs, f"resolve {fix.id}": run}))
