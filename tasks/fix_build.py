"""Building a fix: its change on a branch of its own, guards that are proven, the file validated."""

from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import GitRepository, WorkTree
from quell.adapters.value_edit import set_value
from quell.incidents.errors import Conflict, InvalidInput
from quell.incidents.fix import Fix, FixState
from quell.incidents.service import ConfigRepository
from quell.resolution.guard import Guard
from tasks.fix import BY, COMMAND_TIMEOUT, branch_of, move, note, repository_of, trailers_of
from tasks.fix_approval import approval_words, deadline_of
from tasks.guards import check_all, proof_text, propose_guards_of, record_guards
from tasks.resources import Resources


def build_fix(res: Resources, fix: Fix) -> Fix:
    """Undo or set, guard, prove, validate and commit on the fix's own branch; PROPOSED becomes VALIDATED.

    Raises QuellError when the undo conflicts or the result is not valid, or, where the branch had moved on, when it
    would be another diff than the one that was approved; the branch that is deployed is untouched.
    """
    git, repository = repository_of(res, fix)
    with git.work_tree(branch_of(fix), start=repository.branch) as tree:
        _mend(tree, fix)
        validated = _validate(tree, repository, fix)
        check_all(res, tree, repository, fix.file)
        found, missing = propose_guards_of(res, git, tree, repository, fix)
        guards, proof = tuple(one.guard for one in found), proof_text(found, missing)
        diff = tree.staged_diff(first=fix.file)
        if fix.approved_by and _lines(diff) != _lines(fix.diff):
            text = f"{repository.branch} has moved on: {fix.id} would be another diff than {fix.approved_by} approved"
            raise Conflict(text)
        tree.commit(_message(git, fix, guards))
    record_guards(res, fix, repository, found)
    names = ", ".join(f"{repository.guards}/{guard.source}" for guard in guards)
    evidence = {"validator": validated, "guards": names or "none", "guard proof": proof}
    why = f"{fix.deed} is valid; {proof}"
    if fix.state is not FixState.PROPOSED:  # rebuilt on a branch that had moved on
        note(res, fix, "fix rebuilt", why, evidence)
        return fix
    deadline = deadline_of(res, fix)
    evidence["approval"] = approval_words(res, fix, deadline)
    changes = {"diff": diff, "guard": names, "guard_proof": proof, "approval_deadline": deadline}
    return move(res, fix, FixState.VALIDATED, why, evidence, **changes)


def _mend(tree: WorkTree, fix: Fix) -> None:
    if not fix.sets:
        tree.undo_commit(fix.bad_commit, fix.file)
        return
    text = (tree.path / fix.file).read_text()
    for key, value in fix.sets.items():
        text = set_value(text, file=fix.file, key=key, value=value)
    tree.write(fix.file, text)


def _lines(diff: str) -> list[str]:
    """What it takes away and adds, wherever in the file that is now."""
    return [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def _validate(tree: WorkTree, repository: ConfigRepository, fix: Fix) -> str:
    if not repository.validate:
        return "none configured"
    values = {"file": str(tree.path / fix.file), "instance": fix.instance or fix.service}
    result = run_command(fill_in(repository.validate, values), cwd=tree.path, timeout=COMMAND_TIMEOUT)
    if not result.is_ok:
        raise InvalidInput(f"validator refuses the undone {fix.file} (exit code {result.code}): {result.said}")
    return result.said or "accepted"


def _message(git: GitRepository, fix: Fix, guards: tuple[Guard, ...]) -> str:
    added = "".join(f"\n- {guard.message}" for guard in guards)
    name = fix.instance or fix.service
    if fix.sets:
        head = f"{name}: set {fix.deed}\n\n{fix.reason}\n\nAsked for by {fix.requested_by}.\n"
    else:
        bad = git.commit(fix.bad_commit)
        asked = "" if fix.requested_by == BY else f"\n\n{fix.reason}\n\nAsked for by {fix.requested_by}."
        head = (
            f"{name}: undo {bad.id[:12]} ({bad.subject})\n\n"
            f"It caused {fix.incident}. The undo takes back only what that commit did to {fix.file}.{asked}\n"
        )
    return (
        head
        + (f"\nGuards that would have caught it:{added}\n" if added else "")
        + "\n".join(("", f"Incident: {fix.incident}", *trailers_of(fix), ""))
    )
