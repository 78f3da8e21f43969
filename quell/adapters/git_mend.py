"""Half a merge, as a killed `git merge --ff-only` leaves it in the working tree, taken back file by file.

Git writes the files first, then the index, then the branch. Until the branch has moved, the merge has not happened.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from quell.adapters.commands import CommandResult
from quell.incidents.errors import Unavailable

Git = Callable[..., CommandResult]


def take_back_half_merge(git: Git, root: Path, wanted: str, files: Sequence[str]) -> None:
    """Make files as HEAD has them, where they or their index entries are what the merge to `wanted` wrote.

    Whatever else stands there is a person's work and stays. Nothing is done where HEAD has arrived. Raises Unavailable.
    """
    if git("merge-base", "--is-ancestor", wanted, "HEAD").is_ok:
        return
    for file in files:
        before, after = _blob(git, "HEAD", file), _blob(git, wanted, file)
        if before == after:
            continue
        staged = git("ls-files", "--stage", "--", file).stdout.split()
        is_staged = (staged[1] if staged else None) in (before, after)
        if is_staged and _is_written_by_merge(git, root / file, file, before, wanted):
            _restore(git, root / file, file, before)


def _blob(git: Git, commit: str, file: str) -> str | None:
    found = git("rev-parse", "--verify", "--quiet", f"{commit}:{file}")
    return found.stdout.strip() if found.is_ok else None


def _is_written_by_merge(git: Git, path: Path, file: str, before: str | None, wanted: str) -> bool:
    """As it was before, as it should become, or cut off on the way there."""
    if not path.exists():
        return True
    if git("hash-object", f"--path={file}", str(path)).stdout.strip() == before:
        return True
    coming = git("show", f"{wanted}:{file}").stdout
    return coming.startswith(path.read_text(errors="replace"))


def _restore(git: Git, path: Path, file: str, before: str | None) -> None:
    if before is not None:
        _change(git, "checkout", "--quiet", "HEAD", "--", file)
        return
    _change(git, "update-index", "--force-remove", "--", file)
    path.unlink(missing_ok=True)


def _change(git: Git, *arguments: str) -> None:
    result = git(*arguments)
    if not result.is_ok:  # somebody is faster, or a disk is full: whoever comes next tries again
        raise Unavailable(f"half a merge could not be taken back: git {arguments[0]}: {result.said}")
