"""One trial of a bisection: a version of the configuration, checked where no user is."""

import shutil
import time
from dataclasses import dataclass
from datetime import timedelta

from quell.adapters.commands import CommandResult, fill_in, run_command
from quell.adapters.git_bisect import BisectTree
from quell.incidents.errors import InvalidInput, Unavailable
from quell.incidents.service import ConfigRepository
from quell.resolution.bisection import Trial, TrialVerdict, trial_verdict

_MOST_SAID = 200
_ENDED_BY_ITSELF = timedelta(seconds=5)  # `timeout` ends it; this process is only the second to do so


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where versions are tried, and of which instance."""

    tree: BisectTree
    repository: ConfigRepository
    instance: str


def try_commit(bench: Bench, commit: str, *, longest: timedelta) -> Trial:
    """The validator first: what it refuses would never run, so it is skipped where a trial could have told more.

    Raises InvalidInput when the check itself cannot be run.
    """
    began = time.monotonic()
    bench.tree.check_out(commit)
    verdict, said = TrialVerdict.GOOD, ""
    limit = min(longest, bench.repository.trial_timeout)
    if bench.repository.validate:
        verdict, said = _run(bench, bench.repository.validate, limit)
        if verdict is TrialVerdict.BAD and bench.repository.trial:
            verdict, said = TrialVerdict.SKIP, f"the validator refuses it: {said}"
    if bench.repository.trial and verdict is TrialVerdict.GOOD:
        verdict, said = _run(bench, bench.repository.trial, limit)
    return Trial(commit=commit, verdict=verdict, seconds=time.monotonic() - began, said=said[:_MOST_SAID])


def _run(bench: Bench, command: tuple[str, ...], limit: timedelta) -> tuple[TrialVerdict, str]:
    file = bench.repository.files[bench.instance]
    tree = bench.tree.path
    values = {"file": str(tree / file), "instance": bench.instance, "tree": str(tree)}
    words = _bounded(fill_in(command, values), limit)
    try:
        result = run_command(words, cwd=tree, timeout=limit + _ENDED_BY_ITSELF, env={"QUELL_TRIAL": "1"})
    except Unavailable:
        return TrialVerdict.SKIP, _too_long(limit)
    verdict = trial_verdict(result.code)
    if verdict is None:
        raise InvalidInput(f"command {command[0]} of the trial cannot be run: {result.said}")
    if result.code in (124, 137):
        return verdict, _too_long(limit)
    return verdict, _last_line(result)


def _bounded(command: tuple[str, ...], limit: timedelta) -> tuple[str, ...]:
    """With a limit of its own: should this process be killed, the trial still ends, with all that it started."""
    program = shutil.which("timeout")
    seconds = f"{limit.total_seconds():g}"
    return (program, "--kill-after=1", seconds, *command) if program else command


def _too_long(limit: timedelta) -> str:
    return f"it ran longer than {limit.total_seconds():g} s"


def _last_line(result: CommandResult) -> str:
    lines = result.said.splitlines()
    return lines[-1].strip() if lines else ""
