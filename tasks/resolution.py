"""Resolution: undo the bad commit in steps that can each be repeated, and leave git and production agreeing.

A fix that a dead process left is taken up where its state says; `reconcile_fixes` undoes what nobody takes up.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from quell.incidents.errors import Conflict, InvalidInput, QuellError, Refused, Unavailable
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.mitigation import Recovery
from quell.resolution.canary import CanaryPolicy, CanaryResult, CanaryVerdict
from tasks.canary import no_verdict, run_canary
from tasks.colours import choose_colour, switch_colours
from tasks.effect import undo_mitigation
from tasks.fix import (
    BY,
    OPEN_FIXES,
    branch_of,
    find_cause,
    get_fix,
    move,
    note,
    open_fix,
    repository_of,
    require_automation,
    trailers_of,
)
from tasks.fix_approval import begin_applying, objection
from tasks.fix_build import build_fix
from tasks.fix_request import open_requested, require_same
from tasks.forms import FixRequest
from tasks.lane import lane_of, widen_lane
from tasks.lease import Hold, hold, kept
from tasks.left_fixes import cool_down, find_left_fixes, mend_repositories
from tasks.one_by_one import spread_fix
from tasks.pilot import choose_pilot_of, is_spreading
from tasks.record import get_incident
from tasks.resources import Resources
from tasks.rollback import hand_over, holding, merge_fix, move_to, put_into_force, take_back, take_back_rest
from tasks.users import watch_users

_LONGEST = timedelta(minutes=2)  # that one step keeps its lease: the commands it runs are each limited


def prepare_fix_of(res: Resources, incident_id: str, request: FixRequest | None = None) -> Fix | None:
    """The incident's fix, found or as it was asked for, built and validated; None when a person has to find the cause.

    Raises Refused (kill switch), Conflict (somebody else resolves it, or another fix is in the making), or, about a
    request, InvalidInput or NotFound; nothing is kept of it then.
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
            fix = require_same(open_fixes[-1], request)
        elif request is not None and request.is_given:
            fix = open_requested(res, incident, request)
        else:
            cause = find_cause(res, incident)
            if isinstance(cause, str):
                hand_over(res, incident, f"no commit to undo: {cause}")
                return None
            fix = open_fix(res, incident, cause)
        move_to(res, incident_id, IncidentState.RESOLVING, f"{fix.id}: {fix.deed}")
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
        with res.store.reading() as tx:
            if why := objection(res, tx, fix, res.clock()):
                return take_back(res, fix, lease, why)
        fix = begin_applying(res, fix)
        git, repository = repository_of(res, fix)
        try:
            git.catch_up(repository.branch)
            commit = git.find_by_trailer(repository.branch, *trailers_of(fix))
            fix = choose_pilot_of(res, choose_colour(res, fix))
            if commit is None:
                aside = ", which is idle" if fix.colour else " before the others" if fix.has_followers else ""
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
        if fix.has_followers and (problem := spread_fix(res, fix, lease)):
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
        with res.store.reading() as tx:
            said = objection(res, tx, fix, res.clock()) if fix.state is FixState.VALIDATED else ""
        roll_back_of(res, fix.id, fix.taking_back or said or "its process died before the canary had a verdict")
    except QuellError as error:
        return f"{fix.id} is {fix.state} and could not be settled: {error}"
    return f"{fix.id} was {fix.state} and is taken back"


def _get(res: Resources, fix_id: str) -> Fix:
    with res.store.reading() as tx:
        return get_fix(tx, fix_id)


def _touch(res: Resources, fix: Fix) -> None:
    with res.store.writing() as tx:
        tx.fixes.put(replace(get_fix(tx, fix.id), updated_at=res.clock()))
