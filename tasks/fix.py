"""A fix in the making: which commit, its undo on a branch, guards that are proven, the file validated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from quell.adapters.git import GitRepository, Standing, open_repository
from quell.incidents.errors import NotFound, QuellError, Refused
from quell.incidents.fix import Fix, FixState, move_fix
from quell.incidents.incident import Incident
from quell.incidents.service import ConfigRepository
from quell.incidents.timeline import Event, event_of
from quell.ports import Transaction
from quell.resolution.candidate import Candidate
from tasks.automation import automation_enabled
from tasks.bisect_record import find_bisection, ranked_candidates
from tasks.resources import Resources

BY = "quell"
COMMAND_TIMEOUT = timedelta(seconds=15)
OPEN_FIXES = (FixState.PROPOSED, FixState.VALIDATED, FixState.CANARY, FixState.PROMOTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The commit to undo, and where it stands."""

    candidate: Candidate
    service: str
    instance: str | None
    file: str
    repository: ConfigRepository


def require_automation(res: Resources) -> None:
    """Raises Refused while the kill switch is off; undoing never asks."""
    with res.store.reading() as tx:
        if not automation_enabled(tx):
            raise Refused("automation is switched off; `quell automation on` lets resolution go on")


def get_fix(tx: Transaction, id: str) -> Fix:
    fix = tx.fixes.get(id)
    if fix is None:
        raise NotFound(f"fix {id} is not in the store; `quell incident` lists the fixes of an incident")
    return fix


def move(
    res: Resources, fix: Fix, to: FixState, why: str, evidence: Mapping[str, str] | None = None, **changes: Any
) -> Fix:
    """Move the fix, store it with other changed fields, and append to the timeline, in one transaction."""
    with res.store.writing() as tx:
        moved, step = move_fix(get_fix(tx, fix.id), to, now=res.clock(), by=BY, why=why, evidence=evidence)
        moved = replace(moved, **changes)
        tx.fixes.put(moved)
        tx.timeline.append(event_of(step))
    return moved


def note(res: Resources, fix: Fix, kind: str, text: str, evidence: Mapping[str, str] | None = None) -> None:
    """Write on the timeline what is no change of state."""
    event = Event(
        incident=fix.incident, at=res.clock(), kind=kind, by=BY, text=text, subject=fix.id, evidence=evidence or {}
    )
    with res.store.writing() as tx:
        tx.timeline.append(event)


def repository_of(res: Resources, fix: Fix) -> tuple[GitRepository, ConfigRepository]:
    """The repository that the fix's service is configured from. Raises NotFound."""
    service = res.config.catalog.service(fix.service)
    if service is None or service.repository is None:
        raise NotFound(f"service {fix.service} has no repository in services.yaml; {fix.id} cannot go on")
    return open_repository(service.repository), service.repository


def find_cause(res: Resources, incident: Incident) -> Cause | str:
    """The likeliest linked commit that is still in force, or why there is none."""
    with res.store.reading() as tx:
        ranked, found = ranked_candidates(tx, incident), find_bisection(tx, incident)
    if found and found.commit:  # what is confirmed leaves nothing to guess
        ranked = ranked[:1]
    try:
        _catch_up(res, ranked)
    except QuellError as error:
        return str(error)
    problems: list[str] = []
    for candidate in ranked:
        try:
            return _locate(res, candidate)
        except QuellError as error:
            problems.append(str(error))
    return "; ".join(problems) or "no linked change names a commit from before the onset"


def _catch_up(res: Resources, ranked: Sequence[Candidate]) -> None:
    """Each repository once: what a pipeline deployed may be nowhere but at the remote yet. Raises QuellError."""
    services = [res.config.catalog.service(candidate.change.service) for candidate in ranked]
    repositories = {one.repository.path: one.repository for one in services if one and one.repository}
    for repository in repositories.values():
        open_repository(repository).catch_up(repository.branch)


def _locate(res: Resources, candidate: Candidate) -> Cause:
    change = candidate.change
    service = res.config.catalog.service(change.service)
    if service is None or service.repository is None:
        raise NotFound(f"service {change.service} has no repository in services.yaml")
    repository, git = service.repository, open_repository(service.repository)
    touched = git.files_of(candidate.commit)
    names = [change.instance] if change.instance else list(repository.files)
    found = [(name, file) for name in names if (file := repository.files.get(name)) in touched and file]
    shared = [file for file in touched if any(fnmatchcase(file, glob) for glob in repository.also)]
    if not found and shared:
        raise Refused(
            f"commit {candidate.commit[:12]} changed {', '.join(shared)}, which no single instance can try:"
            f" a person must undo it (git revert {candidate.commit[:12]})"
        )
    if not found:
        raise NotFound(f"commit {candidate.commit[:12]} changed no known file of {change.instance or change.service}")
    if len(found) > 1:
        raise Refused(f"commit {candidate.commit[:12]} changed {len(found)} instances at once: a person must undo it")
    name, file = found[0]
    if git.standing(candidate.commit, file, repository.branch) is Standing.NOT_IN_FORCE:
        raise NotFound(f"commit {candidate.commit[:12]} is no longer in force in {file}")
    instance = name if res.config.catalog.instance(name) else None
    return Cause(candidate=candidate, service=change.service, instance=instance, file=file, repository=repository)


def open_fix(res: Resources, incident: Incident, cause: Cause) -> Fix:
    """Record what shall be undone, before anything is prepared."""
    git = open_repository(cause.repository)
    commit = git.commit(cause.candidate.commit)
    diff = git.diff(commit.id, cause.file)
    return record_fix(
        res,
        lambda id, now: Fix(
            id=id,
            state=FixState.PROPOSED,
            incident=incident.id,
            service=cause.service,
            instance=cause.instance,
            repository=cause.repository.path,
            file=cause.file,
            bad_commit=commit.id,
            diff=diff,
            created_at=now,
            updated_at=now,
        ),
        f"undo commit {commit.id[:12]} in {cause.file} ({commit.subject}): {cause.candidate.reason}",
        {"commit": commit.id, "author": commit.author, "made at": commit.at.isoformat()},
    )


def record_fix(res: Resources, make: Callable[[str, datetime], Fix], text: str, evidence: Mapping[str, str]) -> Fix:
    """Give it its number and keep it, with a line on the timeline by whoever asked for it."""
    with res.store.writing() as tx:
        now = res.clock()
        fix = make(f"FIX-{tx.next_number('FIX')}", now)
        tx.fixes.add(fix)
        tx.timeline.append(
            Event(
                incident=fix.incident,
                at=now,
                kind="fix proposed",
                by=fix.requested_by,
                text=text,
                subject=fix.id,
                evidence=evidence,
            )
        )
    return fix


def branch_of(fix: Fix) -> str:
    return f"quell/{fix.id.lower()}"


def trailers_of(fix: Fix) -> tuple[str, str]:
    """The lines by which the fix's commit is found again. Two: numbers begin anew with a new store."""
    what = f"Mends: {fix.bad_commit}" if fix.sets else f"Reverts: {fix.bad_commit}"
    return f"Fix: {fix.id}", what
