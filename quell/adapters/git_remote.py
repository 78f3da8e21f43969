"""A branch as a remote has it: fetched, and pushed to without force."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from quell.adapters.commands import CommandResult
from quell.adapters.git_program import GitProgram
from quell.incidents.errors import Conflict, NotFound, Refused, Unavailable

_TRIES = 3
_LONGEST_WAIT = timedelta(seconds=4)
_REFUSED = re.compile(r"^!\t\S+\t\[(remote )?rejected\] \((.*)\)$", re.MULTILINE)
_RACES = ("cannot lock ref", "failed to update ref", "incorrect old value")  # two pushes at the same moment


def fetch_branch(git: GitProgram, remote: str, branch: str) -> str:
    """The commit at the head of the remote's branch, which is here afterwards.

    Raises NotFound (it has no such branch) or Unavailable (it cannot be reached; tried three times).
    """
    kept = f"refs/remotes/{remote}/{branch}"
    wanted = f"+refs/heads/{branch}:{kept}"
    result = _patiently(git, partial(_reach, git, remote, "fetch", "--quiet", "--no-tags", remote, wanted))
    if not result.is_ok:
        raise NotFound(f"{remote} of {git.path} has no branch {branch}: push it there, or correct repository.branch")
    return git.git("rev-parse", "--verify", kept).strip()


def push_commit(git: GitProgram, remote: str, commit: str, branch: str, *, force: bool = False) -> None:
    """Make `commit` the head of the remote's branch; what others pushed there is never lost unless `force` is given.

    Raises Conflict (the branch has moved on there), Refused (the remote lets nobody, or not Quell, push to it) or
    Unavailable (it cannot be reached; tried three times).
    """
    wanted = f"{'+' if force else ''}{commit}:refs/heads/{branch}"
    result = _patiently(git, partial(_reach, git, remote, "push", "--porcelain", "--no-follow-tags", remote, wanted))
    if result.is_ok:
        return
    is_theirs, why = _refusal(result)
    if is_theirs and not any(race in why for race in _RACES):
        raise Refused(f"{remote} refuses a push to {branch}: {_reason(result, why)}")
    raise Conflict(f"branch {branch} has moved on at {remote}: {why}")


def may_push(git: GitProgram, remote: str, branch: str) -> None:
    """Whether the remote lets Quell write, as far as it says so without a change. Raises Unavailable.

    What it has already, as `fetch_branch` left it, is pushed again. Hooks and protected branches are not asked.
    """
    _reach(
        git, remote, "push", "--porcelain", "--dry-run", remote, f"refs/remotes/{remote}/{branch}:refs/heads/{branch}"
    )


def _patiently(git: GitProgram, ask: Callable[[], CommandResult]) -> CommandResult:
    """Again where it could not be reached, after waits of chance, within the time that one command of git has."""
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(_TRIES) | stop_after_delay(git.timeout),
        wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT.total_seconds()),
        reraise=True,
    )
    return retrying(ask)


def _reach(git: GitProgram, remote: str, *arguments: str) -> CommandResult:
    """What git answered, where the remote answered it. Raises Unavailable."""
    result = git.run(*arguments)
    if result.is_ok or _REFUSED.search(result.stdout) or "couldn't find remote ref" in result.stderr:
        return result
    said = result.stderr.strip().splitlines()
    raise Unavailable(f"{remote} of {git.path} cannot be reached: {said[0] if said else f'exit code {result.code}'}")


def _refusal(result: CommandResult) -> tuple[bool, str]:
    """Whether the remote said no, and not git here, and why."""
    found = _REFUSED.search(result.stdout)
    return (bool(found and found[1]), found[2] if found else result.said)


def _reason(result: CommandResult, why: str) -> str:
    """With what the remote's hooks wrote."""
    said = [line.removeprefix("remote:").strip() for line in result.stderr.splitlines() if line.startswith("remote:")]
    return " ".join((why, *(line for line in said if line)))
