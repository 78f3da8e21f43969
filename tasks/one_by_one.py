"""One by one: the other instances follow the pilot, or git, each out of the traffic while it is reloaded.

At any moment one of them at most has weight 0, and its state before is in the journal: whoever comes after a death goes
on with that one. Who runs what is committed already is passed over, where `running` can tell; else it is reloaded once
more.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from quell.adapters.git import GitRepository, open_repository
from quell.incidents.errors import InvalidInput, QuellError, Unavailable
from quell.incidents.fix import Fix
from quell.incidents.journal import JournalEntry, JournalState
from quell.incidents.service import ConfigRepository, Instance, Service
from tasks.fix import note, require_automation
from tasks.lane_journal import as_before, put_back, rest_entries, rest_of
from tasks.lease import Hold, kept
from tasks.pilot import check_followed, file_changed, pilot_entry, pilot_follows, serve_fully, service_of, take_out
from tasks.readiness import await_well, place_of, problems_of, reload_instances
from tasks.resources import Resources
from tasks.running import content_of, difference

_TRIES = 3
_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 1.0, 5.0
_LONGEST = timedelta(minutes=2)  # that one instance takes, its tries included


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One way through the instances; `commit` is what each of them is to run then."""

    res: Resources
    fix: Fix
    lease: Hold
    service: Service
    repository: ConfigRepository
    git: GitRepository
    commit: str
    must_be_well: bool
    sleep: Callable[[float], None]

    @property
    def readers(self) -> tuple[Instance, ...]:
        """Who reads the fix's file: one instance, or all that have none of their own."""
        if self.fix.instance:
            return tuple(one for one in self.service.instances if one.name == self.fix.instance)
        return self.service.readers


def spread_fix(res: Resources, fix: Fix, lease: Hold, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """Let the others run what the pilot was promoted with; why a person has to go on, empty when all run it.

    A rerun goes on where the last one died. Raises Unavailable where the load balancer does not answer, Refused while
    automation is switched off.
    """
    serve_fully(res, fix)
    way = _round(res, fix, lease, must_be_well=True, sleep=sleep)
    has_moved_on = file_changed(way.git, fix, way.commit)
    wanted = [one for one in way.readers if one.name != fix.pilot or has_moved_on]
    done = [] if has_moved_on else [fix.pilot]
    for one in _pending_first(way, wanted):
        require_automation(res)
        if problem := _bring_over(way, one):
            left = [other.name for other in wanted if other.name not in done]
            return f"{problem}; with the fix: {', '.join(done)}; not known to have it: {', '.join(left)}"
        done.append(one.name)
    return ""


def follow_branch(
    res: Resources, fix: Fix, lease: Hold, commit: str, *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Let every instance that had the fix run what the branch says: the pilot first, then who had followed it.

    Each is tried even where another failed. Raises Unavailable: a pilot that was not promoted keeps weight 0 then.
    """
    way = _round(res, fix, lease, must_be_well=False, sleep=sleep, commit=commit)
    said, problems = "", list[str]()
    entry = pilot_entry(res, fix)
    try:
        with kept(res, lease, _LONGEST):
            said = pilot_follows(res, way.repository, fix, entry, commit) if entry else ""
    except QuellError as error:
        problems.append(str(error))
    followers = [one for one in way.readers if _has_to_follow(way, one, has_entry=entry is not None)]
    for one in _pending_first(way, followers):
        problems += filter(None, [_bring_over(way, one)])
    if problems:
        raise Unavailable("; ".join(problems))
    return said or "every instance runs it"


def _round(
    res: Resources,
    fix: Fix,
    lease: Hold,
    *,
    must_be_well: bool,
    sleep: Callable[[float], None],
    commit: str = "",
) -> Round:
    service, repository = service_of(res, fix)
    git = open_repository(repository)
    return Round(
        res=res,
        fix=fix,
        lease=lease,
        service=service,
        repository=repository,
        git=git,
        commit=commit or git.head(repository.branch),
        must_be_well=must_be_well,
        sleep=sleep,
    )


def _has_to_follow(way: Round, one: Instance, *, has_entry: bool) -> bool:
    """All of them once the first other one was begun; before that the pilot, and who got the fix from somebody else.

    Who runs what the branch said before the fix was never touched: what people commit meanwhile is theirs to deploy.
    """
    if rest_entries(way.res, way.fix):
        return one.name != way.fix.pilot or not has_entry
    if one.name == way.fix.pilot:
        return not has_entry
    with suppress(QuellError):  # it cannot be asked, and nothing says that it was touched
        place = place_of(way.repository, way.fix, one.name)
        return bool(way.repository.running and difference(place)) and content_of(place) != _before_the_fix(way)
    return False


def _before_the_fix(way: Round) -> str:
    commit = way.fix.fix_commit
    return (way.git.content(f"{commit}^", way.fix.file) or "").strip() if commit else ""


def _pending_first(way: Round, instances: list[Instance]) -> Iterator[Instance]:
    """Who was left out of the traffic by a dead process comes first; who is not configured any more is put back."""
    pending = _pending(way)
    known = {one.server for one in instances}
    for entry in pending:
        if entry.step.target not in known:
            _give_back(way, entry)
    targets = {entry.step.target for entry in pending}
    yield from sorted(instances, key=lambda one: one.server not in targets)


def _bring_over(way: Round, one: Instance) -> str:
    """Out of the traffic, reloaded, back as it was; what went wrong, empty when nothing did. Raises Unavailable."""
    res, fix = way.res, way.fix
    is_pending = one.server in {entry.step.target for entry in _pending(way)}
    if not is_pending and _runs_it(way, one):
        return ""
    with kept(res, way.lease, _LONGEST):
        if one.server:
            take_out(res, fix, way.lease, rest_of(one.name), one.server, sleep=way.sleep)
        problem = _reload(way, one)
        for entry in _pending(way):
            if entry.step.target == one.server:
                _give_back(way, entry)
    if problem:
        return f"{one.name} did not follow in {_TRIES} tries and has its weight back: {problem}"
    note(res, fix, "instance followed", f"{one.name} runs {way.commit[:12]} and is as it was at the load balancer")
    return ""


def _reload(way: Round, one: Instance) -> str:
    """Try until it runs what is committed; what went wrong at last."""

    def reload() -> None:
        reload_instances(way.repository, way.fix, way.commit, [one.name])
        if way.must_be_well:
            await_well(way.res, lambda: problems_of(way.repository, way.fix, [one]), one.name, sleep=way.sleep)
        else:
            check_followed(way.repository, way.fix, one.name)

    tries = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=_BACKOFF_SECONDS, max=_LONGEST_BACKOFF_SECONDS),
        retry=retry_if_exception_type((Unavailable, InvalidInput)),
        sleep=way.sleep,
        reraise=True,
    )
    try:
        tries(reload)
    except (Unavailable, InvalidInput) as error:
        return str(error)
    return ""


def _runs_it(way: Round, one: Instance) -> bool:
    with suppress(QuellError):  # it cannot be asked: it is reloaded
        return bool(way.repository.running) and not difference(place_of(way.repository, way.fix, one.name))
    return False


def _pending(way: Round) -> list[JournalEntry]:
    return [entry for entry in rest_entries(way.res, way.fix) if entry.state is JournalState.INTENDED]


def _give_back(way: Round, entry: JournalEntry) -> None:
    put_back(way.res, entry, as_before(way.res, way.fix, entry))
