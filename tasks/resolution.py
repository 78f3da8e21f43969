"""Resolution: undo the bad commit in steps that can each be repeated, and leave git and production agreeing.

A fix that a dead process left is taken up where its state says; `reconcile_fixes` undoes what nobody takes up.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.incidents.errors import Conflict, InvalidInput, QuellError, Refused, Unavailable
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import Recovery
from quell.resolution.canary import CanaryPolicy, CanaryResult, CanaryVerdict
from tasks.artifacts import publish
from tasks.canary import no_verdict, run_canary
from tasks.colours import choose_colour, switch_colours
from tasks.effect import undo_mitigation
from tasks.fix import (
    BY,
    OPEN_FIXES,
    branch_of,
    build_fix,
    find_cause,
    get_fix,
    move,
    note,
    open_fix,
    repository_of,
    require_automation,
    trailers_of,
)
from tasks.lane import lane_of, widen_lane
from tasks.lease import Hold, hold, kept
from tasks.left_fixes import cool_down, find_left_fixes, mend_repositories
from tasks.one_by_one import spread_fix
from tasks.pilot import choose_pilot_of, is_spreading
from tasks.record import get_incident
from tasks.resolution_report import show_fix, show_resolution
from tasks.resources import Resources, resources
from tasks.rollback import hand_over, holding, merge_fix, move_to, put_into_force, take_back, take_back_rest
from tasks.users import watch_users

_LONGEST = timedelta(minutes=2)  # that one step keeps its lease: the commands it runs are each limited


def prepare_fix_of(res: Resources, incident_id: str) -> Fix | None:
    """The incident's fix, found, built and validated; None when a person has to find the cause.

    Raises Refused (kill switch) or Conflict (somebody else resolves it).
    """
    require_automation(res)
    with hold(res, f"resolve {incident_id}") as lease, kept(res, lease, _LONGEST):
        with res.store.reading() as tx:
            incident = get_incident(tx, incident_id)
            open_fixes = tx.fixes.find({"incident": incident_id, "state": OPEN_FIXES})
        if incident.state is not IncidentState.RESOLVING:  # the trouble came back: what was promoted did not mend it
            open_fixes = [fix for fix in open_fixes if fix.state is not FixState.PROMOTED or is_spreading(res, fix)]
        if open_fixes and (why := open_fixes[-1].taking_back):
            take_back(res, open_fixes[-1], lease, why)
            return None
        if open_fixes:
            fix = open_fixes[-1]
        else:
            cause = find_cause(res, incident)
            if isinstance(cause, str):
                hand_over(res, incident, f"no commit to undo: {cause}")
                return None
            fix = open_fix(res, incident, cause)
        move_to(res, incident_id, IncidentState.RESOLVING, f"{fix.id} undoes commit {fix.bad_commit[:12]}")
        if fix.state is not FixState.PROPOSED:
            return fix
        try:
            return build_fix(res, fix)
        except QuellError as error:
            take_back(res, fix, lease, f"the fix cannot be prepared: {error}")
            return None


def apply_fix_of(res: Resources, fix_id: str) -> Fix:
    """Bring the fix onto the deployed branch and into force; the fix has its commit then. Undone when that fails."""
    require_automation(res)
    with hold(res, fix_id) as lease, kept(res, lease, _LONGEST):
        fix = _get(res, fix_id)
        if fix.taking_back and fix.state is not FixState.REVERTED:
            return take_back(res, fix, lease, fix.taking_back)
        if fix.state is not FixState.VALIDATED:
            return fix
        git, repository = repository_of(res, fix)
        commit = git.find_by_trailer(repository.branch, *trailers_of(fix))
        try:
            fix = choose_pilot_of(res, choose_colour(res, fix))
            if commit is None:
                aside = ", which is idle" if fix.colour else " before the others" if fix.pilot else ""
                text = f"bring {branch_of(fix)} onto {repository.branch} and reload {fix.tried_on}{aside}"
                note(res, fix, "fix applying", text, {"head before": git.head(repository.branch), "undo": "git revert"})
                commit = merge_fix(res, git, repository, fix)
            said = put_into_force(res, repository, fix, lease, commit)
        except QuellError as error:
            return take_back(res, fix, lease, f"the fix could not be put into force: {error}")
        with res.store.writing() as tx:
            fix = replace(get_fix(tx, fix_id), fix_commit=commit, updated_at=res.clock())
            tx.fixes.put(fix)
        git.forget(branch_of(fix))
        note(res, fix, "fix applied", f"commit {commit[:12]} is in force: {said}", {"commit": commit})
        return fix


def judge_fix_of(
    res: Resources, fix_id: str, policy: CanaryPolicy | None = None, *, sleep: Callable[[float], None] = time.sleep
) -> CanaryResult:
    """The canary's verdict on the applied fix. Without a sibling to compare with it is inconclusive."""
    require_automation(res)
    with hold(res, fix_id) as lease:
        fix = _get(res, fix_id)
        if fix.taking_back or fix.state in (FixState.PROMOTED, FixState.REVERTED):  # a rerun: the verdict was given
            stands = fix.state is FixState.PROMOTED and not fix.taking_back
            given = CanaryVerdict.PROMOTE if stands else CanaryVerdict.REVERT
            return replace(no_verdict(fix.canary_result), verdict=given)
        if fix.state is FixState.VALIDATED:
            fix = move(res, fix, FixState.CANARY, f"{fix.tried_on} gets a little traffic with the fix")
        result = _try_fix(res, fix, lease, policy or res.config.canary, sleep)
        _touch(res, fix)  # whoever judged it has yet to act on the verdict
        note(res, fix, f"canary {result.verdict}", result.reason)
        return result


def _try_fix(
    res: Resources, fix: Fix, lease: Hold, policy: CanaryPolicy, sleep: Callable[[float], None]
) -> CanaryResult:
    try:
        lane = lane_of(res, fix)
        if lane is None:
            beside = "colour" if fix.colour else "sibling"
            return no_verdict(f"{fix.tried_on} has no serving {beside} at the load balancer to compare with")
        return run_canary(res, fix, lane, lease, policy, sleep=sleep)
    except (Unavailable, Refused, InvalidInput) as error:
        return no_verdict(str(error))


def promote_fix_of(res: Resources, fix_id: str, why: str) -> Fix:
    """Promote, let the others follow a pilot, release what contained the incident, and give the full share again.

    Where one of the others does not follow, a person has to go on, and the containment is held.

    Raises Conflict when somebody took the fix back meanwhile: the containment is all that protects users then.
    """
    with hold(res, fix_id) as lease:
        fix = _get(res, fix_id)
        if fix.state is FixState.CANARY and not fix.taking_back:
            fix = move(res, fix, FixState.PROMOTED, why, canary_result=why)
        if fix.state is not FixState.PROMOTED or fix.taking_back:
            raise Conflict(f"{fix.id} is {fix.state} and cannot be promoted: it was taken back meanwhile")
        if fix.colour:  # before the release: what contains the incident protects users from the colour that serves
            switch_colours(res, fix, lease)
        if fix.pilot and (problem := spread_fix(res, fix, lease)):
            _leave_to_a_person(res, fix, problem)
            return _get(res, fix_id)
    for mitigation in holding(res, fix.incident):
        undo_mitigation(res, mitigation.id, BY, f"{fix.id} is promoted: the cause is mended")
    widen_lane(res, fix)
    return _get(res, fix_id)


def _leave_to_a_person(res: Resources, fix: Fix, problem: str) -> None:
    with res.store.reading() as tx:
        incident = get_incident(tx, fix.incident)
    text = f"{fix.id} is promoted and not in force everywhere: {problem}"
    hand_over(res, incident, f"{text}; put that right, then run resolve again: it goes on from there")


def roll_back_of(res: Resources, fix_id: str, why: str) -> Fix:
    """Contain again, take the fix back in git and in production, and hand the incident to a person."""
    with hold(res, fix_id) as lease, kept(res, lease, _LONGEST):
        return take_back(res, _get(res, fix_id), lease, why)


def close_of(res: Resources, fix_id: str, *, sleep: Callable[[float], None] = time.sleep) -> Incident:
    """RESOLVED when the users' signal holds with the fix and without the containment; else a person's."""
    fix = _get(res, fix_id)
    released_at = res.clock()
    with res.store.reading() as tx:
        incident = get_incident(tx, fix.incident)
    if incident.state is not IncidentState.RESOLVING:
        return incident
    held = holding(res, fix.incident)
    if held:
        names = ", ".join(f"{m.id} is {m.state}" for m in held)
        return hand_over(res, incident, f"{fix.id} is promoted, but the containment is not released: {names}")
    with hold(res, fix_id) as lease, kept(res, lease, _LONGEST):
        judgement = watch_users(res, incident, released_at, sleep=sleep)
    if judgement.recovery is not Recovery.EFFECTIVE:
        return hand_over(res, incident, f"{fix.id} is in force, but users are not well: {judgement.reason}")
    evidence = {"fix": fix.id, "commit": fix.fix_commit or "", "guard": fix.guard or "none"}
    return move_to(
        res, incident.id, IncidentState.RESOLVED, f"{fix.id} removed the cause; {judgement.reason}", evidence
    )


def reconcile_fixes(res: Resources) -> list[str]:
    """End what a dead process left: a promoted fix is finished, any other is taken back; one sentence for each."""
    settled = [said for fix in find_left_fixes(res) if (said := _settle(res, fix))]
    return [*mend_repositories(res), *settled, *cool_down(res)]


def _settle(res: Resources, fix: Fix) -> str:
    try:
        if fix.state is FixState.REVERTED:
            with hold(res, fix.id) as lease:
                return f"the rest of {fix.id} is taken back" if take_back_rest(res, fix, lease) else ""
        if fix.state is FixState.PROMOTED and not fix.taking_back:
            promote_fix_of(res, fix.id, "finished after its process died")
            incident = close_of(res, fix.id)
            return f"{fix.id} was promoted; {incident.id} is {incident.state}"
        roll_back_of(res, fix.id, fix.taking_back or "its process died before the canary had a verdict")
    except QuellError as error:
        return f"{fix.id} is {fix.state} and could not be settled: {error}"
    return f"{fix.id} was {fix.state} and is taken back"


def _get(res: Resources, fix_id: str) -> Fix:
    with res.store.reading() as tx:
        return get_fix(tx, fix_id)


def _touch(res: Resources, fix: Fix) -> None:
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), updated_at=res.clock()))


@task(name="settle fixes", task_run_name="settle fixes", cache_policy=NO_CACHE)
def settle_fixes() -> list[str]:
    """Finish or take back the fixes that a dead process left; one sentence for each."""
    sentences = reconcile_fixes(resources())
    if sentences:
        text = "\n".join(f"- {sentence}" for sentence in sentences)
        publish("reconcile fixes", f"## Settled\n\n{text}", "Fixes that a dead process left")
    return sentences


@task(name="prepare the fix", task_run_name="prepare the fix of {incident}", cache_policy=NO_CACHE)
def prepare_fix(incident: str) -> str | None:
    """Find the commit behind the incident, undo it on a branch, prove the guard, validate. The fix's id."""
    res = resources()
    fix = prepare_fix_of(res, incident)
    if fix is None:
        show_resolution(res, incident)
        return None
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
