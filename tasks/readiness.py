"""Readiness: what is committed is put into force where no user is, and asked until it is well, or not in time."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from quell.adapters.commands import fill_in, run_command
from quell.adapters.probe import HttpProber
from quell.incidents.errors import Unavailable
from quell.incidents.fix import Fix
from quell.incidents.service import ConfigRepository, Instance
from tasks.fix import COMMAND_TIMEOUT
from tasks.resources import Resources
from tasks.running import Place, difference

_READY_WITHIN = timedelta(seconds=10)  # after the reload
_ROUNDS = 3  # of probes, one after the other, all of which must be well
_PAUSE_SECONDS = 0.2


def reload_instances(repository: ConfigRepository, fix: Fix, commit: str, names: Sequence[str]) -> str:
    """Put what is committed into force on each; the command's exit code 0 is the confirmation. Raises Unavailable."""
    if not repository.reload:
        return "no reload command is configured: the commit is on the branch"
    said: list[str] = []
    for name in names:
        command = fill_in(repository.reload, {"file": fix.file, "instance": name, "commit": commit})
        result = run_command(command, cwd=Path(repository.path), timeout=COMMAND_TIMEOUT)
        if not result.is_ok:
            raise Unavailable(f"reload of {name} failed (exit code {result.code}): {result.said}")
        said.append(result.said)
    return "; ".join(filter(None, said)) or "reload confirmed"


def await_well(
    res: Resources, problems: Callable[[], Iterator[str]], what: str, *, sleep: Callable[[float], None] = time.sleep
) -> int:
    """How often in a row nothing was wrong, which has to be soon after the reload. Raises Unavailable."""
    good, deadline = 0, res.clock() + _READY_WITHIN
    while good < _ROUNDS:
        found = list(problems())
        good = 0 if found else good + 1
        if found and res.clock() >= deadline:
            raise Unavailable(f"{what} is not well with the fix: {'; '.join(found)}")
        sleep(_PAUSE_SECONDS)
    return good


def problems_of(
    repository: ConfigRepository, fix: Fix, instances: Sequence[Instance], probes: Sequence[str] = ()
) -> Iterator[str]:
    """What is wrong with the instances when they are asked themselves, and in what they say they run."""
    urls = [f"{one.url.rstrip('/')}{path}" for one in instances if one.url for path in (one.probe, *probes)]
    for url, answer in HttpProber().probe(urls).items():
        if not answer.is_well:
            yield f"{url} answers {answer.words}"
    for one in instances if repository.running else ():
        if found := difference(place_of(repository, fix, one.name)):
            yield found


def place_of(repository: ConfigRepository, fix: Fix, name: str) -> Place:
    return Place(name=name, service=fix.service, file=fix.file, repository=repository)
