"""The way onto the deployed branch and back: merge, reload, take back, hand over to a person."""

from collections.abc import Mapping
from dataclasses import replace

from quell.adapters.git import GitRepository
from quell.incidents.errors import Conflict, QuellError, Refused
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import INCIDENT_TRANSITIONS, Incident, IncidentState, move_incident
from quell.incidents.mitigation import HOLDING_STATES, Mitigation, MitigationState
from quell.incidents.service import ConfigRepository
from quell.incidents.timeline import Event, event_of
from tasks.colours import follow_git, make_ready, switch_back
from tasks.fix import BY, branch_of, get_fix, move, note, repository_of, trailers_of
from tasks.fix_build import build_fix
from tasks.lane import after_canary, close_lane
from tasks.lease import Hold
from tasks.one_by_one import follow_branch
from tasks.pilot import make_pilot_ready, pilot_entry
from tasks.readiness import reload_instances
from tasks.record import get_incident
from tasks.resources import Resources

HANDED_OVER = "handed to a person"  # on the timeline, with the incident as its subject

_MERGES = 3  # attempts to bring a commit onto a branch on which people commit meanwhile


def merge_fix(res: Resources, git: GitRepository, repository: ConfigRepository, fix: Fix) -> str:
    """The fix's commit on the deployed branch; built again where the branch has moved on meanwhile.

    Raises QuellError; a remote that refuses the branch has the fix's own branch then, for people to merge.
    """
    for left in reversed(range(_MERGES)):
        try:
            return git.merge(branch_of(fix), into=repository.branch)
        except Refused as error:
            if git.publish(branch_of(fix)):
                raise Refused(f"{error}; branch {branch_of(fix)} is at {git.remote}: have it merged there") from error
            raise
        except QuellError:
            if not left:
                raise
            git.catch_up(repository.branch)
            if commit := git.find_by_trailer(repository.branch, *trailers_of(fix)):  # it got there all the same
                return commit
            build_fix(res, fix)
    raise AssertionError("the last attempt returns or raises")


def put_into_force(res: Resources, repository: ConfigRepository, fix: Fix, lease: Hold, commit: str) -> str:
    """Let run what is committed: on the instance, or on the idle colour or the pilot, which are seen to be well then.

    Raises QuellError.
    """
    if fix.colour:
        return make_ready(res, repository, fix, commit)
    if fix.pilot:
        return make_pilot_ready(res, repository, fix, lease, commit)
    return reload_instances(repository, fix, commit, [fix.instance or fix.service])


def take_back(res: Resources, fix: Fix, lease: Hold, why: str) -> Fix:
    """Contain again, undo the fix in git and in production, REVERTED, and the incident to a person.

    That it shall be taken back is stored first, so that whoever comes after a death goes on. Each part is tried even
    where one before it failed; what failed is part of what the person is told, and reconciliation tries it again,
    except where people have changed the same lines: then the file is theirs.
    """
    fix = _keep_reason(res, fix, why)
    problems, is_over = _take_apart(res, fix, lease, why)
    text = why + "".join(f"; NOT taken back: {problem}" for problem in problems)
    with res.store.reading() as tx:
        incident = get_incident(tx, fix.incident)
    if fix.state is FixState.PROMOTED and not incident.is_active:
        move_to(res, incident.id, IncidentState.OPEN, f"{fix.id} is taken back: the cause is in force again")
    if fix.state is not FixState.REVERTED:
        fix = move(res, fix, FixState.REVERTED, text, canary_result=text)
    hand_over(res, incident, f"{fix.id} is taken back: {text}")
    return _keep_reason(res, fix, "") if is_over else fix


def take_back_rest(res: Resources, fix: Fix, lease: Hold) -> bool:
    """Try again what could not be taken back, or what a dead process did not come to; whether all is done now."""
    _, is_over = _take_apart(res, fix, lease, fix.taking_back)
    with res.store.reading() as tx:
        incident = get_incident(tx, fix.incident)
    if incident.state is IncidentState.RESOLVING:
        hand_over(res, incident, f"{fix.id} is taken back: {fix.canary_result}")
    if is_over:
        _keep_reason(res, fix, "")
    return is_over


def _take_apart(res: Resources, fix: Fix, lease: Hold, why: str) -> tuple[list[str], bool]:
    """What could not be taken back, and whether it is of no use to try again."""
    problems: list[str] = []
    is_over = True
    for part in (_contain_again, _undo_commit):
        try:
            part(res, fix, lease, why)
        except QuellError as error:
            problems.append(str(error))
            is_over = is_over and isinstance(error, Conflict)
    return problems, is_over


def _keep_reason(res: Resources, fix: Fix, why: str) -> Fix:
    with res.store.writing() as tx:
        kept = replace(get_fix(tx, fix.id), taking_back=why, updated_at=res.clock())
        tx.fixes.put(kept)
    return kept


def hand_over(res: Resources, incident: Incident, why: str) -> Incident:
    """Leave the incident to a person: contained while a mitigation holds, else triaged; said on the timeline."""
    is_held = any(m.state is MitigationState.EFFECTIVE for m in holding(res, incident.id))
    to = IncidentState.CONTAINED if is_held else IncidentState.TRIAGED
    with res.store.writing() as tx:
        now = res.clock()
        tx.timeline.append(Event(incident=incident.id, at=now, kind=HANDED_OVER, by=BY, text=why, subject=incident.id))
    if incident.state is IncidentState.RESOLVING:
        return move_to(res, incident.id, to, why)
    return incident


def move_to(
    res: Resources, incident_id: str, to: IncidentState, why: str, evidence: Mapping[str, str] | None = None
) -> Incident:
    """Move the incident where its table allows it; one that is further already stays where it is."""
    with res.store.writing() as tx:
        incident = get_incident(tx, incident_id)
        if to not in INCIDENT_TRANSITIONS[incident.state]:
            return incident
        moved, step = move_incident(incident, to, now=res.clock(), by=BY, why=why, evidence=evidence)
        tx.incidents.put(moved)
        tx.timeline.append(event_of(step))
    return moved


def holding(res: Resources, incident_id: str) -> list[Mitigation]:
    """The incident's mitigations in which production may differ from how it was found."""
    with res.store.reading() as tx:
        return tx.mitigations.find({"incident": incident_id, "state": tuple(HOLDING_STATES)})


def _contain_again(res: Resources, fix: Fix, lease: Hold, why: str) -> None:  # noqa: ARG001 - as the other part
    if close_lane(res, fix):
        note(res, fix, "canary ended", f"{after_canary(fix)}: {why}")
    if switch_back(res, fix):
        note(res, fix, "colours switched back", f"the colour of before serves again: {why}")


def _undo_commit(res: Resources, fix: Fix, lease: Hold, why: str) -> None:
    git, repository = repository_of(res, fix)
    git.mend()
    git.catch_up(repository.branch)
    commit = git.find_by_trailer(repository.branch, *trailers_of(fix))
    git.forget(branch_of(fix))
    if commit is None:
        if fix.pilot and pilot_entry(res, fix):  # somebody has taken the commit off the branch
            _follow(res, repository, fix, lease, git.head(repository.branch))
        return
    trailers, branch = (f"Undoes: {fix.id}", f"Reverts: {commit}"), f"quell/undo-{fix.id.lower()}"
    undone = git.find_by_trailer(repository.branch, *trailers)
    if undone is None:
        lines = "\n".join((f"Incident: {fix.incident}", *trailers))
        message = f"{fix.instance or fix.service}: take back {fix.id}\n\n{why}\n\n{lines}\n"
        try:
            undone = _commit_undo(git, repository, branch, commit, message)
        except Conflict:  # it stays on the branch: what runs must not be something else
            git.forget(branch)
            _follow(res, repository, fix, lease, git.head(repository.branch))
            raise
    git.forget(branch)
    said = _follow(res, repository, fix, lease, undone)
    note(res, fix, "fix taken back", f"commit {undone[:12]} is in force: {said}", {"commit": undone})


def _follow(res: Resources, repository: ConfigRepository, fix: Fix, lease: Hold, commit: str) -> str:
    if fix.colour:
        return follow_git(res, repository, fix, commit)
    if fix.pilot:
        return follow_branch(res, fix, lease, commit)
    return reload_instances(repository, fix, commit, [fix.instance or fix.service])


def _commit_undo(git: GitRepository, repository: ConfigRepository, branch: str, commit: str, message: str) -> str:
    """On the deployed branch; made again where somebody commits to it meanwhile."""
    for left in reversed(range(_MERGES)):
        with git.work_tree(branch, start=repository.branch) as tree:
            for file in git.files_of(commit):
                tree.undo_commit(commit, file)
            undone = tree.commit(message)
        try:
            git.merge(branch, into=repository.branch)
        except Conflict:
            if not left:
                raise
            git.catch_up(repository.branch)
        else:
            return undone
    raise AssertionError("the last attempt returns or raises")
