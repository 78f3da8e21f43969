"""A fix that a person asks for: a value to set, or a commit to undo, in the file of an instance or a service."""

from dataclasses import dataclass
from pathlib import Path

from quell.adapters.git import GitRepository, Standing, open_repository
from quell.adapters.value_edit import set_value
from quell.config.problem import not_defined
from quell.incidents.errors import Conflict, InvalidInput
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import INCIDENT_TRANSITIONS, Incident, IncidentState
from quell.incidents.service import ConfigRepository
from tasks.fix import record_fix
from tasks.forms import FixRequest
from tasks.record import QUELL
from tasks.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    service: str
    instance: str | None
    file: str
    repository: ConfigRepository


def is_same(fix: Fix, request: FixRequest) -> bool:
    """Whether the fix is what the request asks for. Raises NotFound for a commit that there is not."""
    if fix.requested_by != request.requested_by.strip():
        return False
    if request.key:
        return dict(fix.sets) == {request.key: request.value}
    return fix.undoes == GitRepository(Path(fix.repository)).commit(request.commit.strip()).id


def open_requested(res: Resources, incident: Incident, request: FixRequest) -> Fix:
    """Record what a person asks for, once it is sure that it can be done; nothing is kept of what cannot.

    Raises InvalidInput (naming file and key), NotFound, Conflict or Unavailable (a remote that cannot be reached).
    """
    _check(incident, request)
    place = _place_of(res, incident, request.place.strip())
    git = open_repository(place.repository)
    git.catch_up(place.repository.branch)
    head = git.head(place.repository.branch)
    if request.key:
        content = git.content(head, place.file)
        if content is None:
            raise InvalidInput(f"{place.file} is not on branch {place.repository.branch}: there is no value to set")
        set_value(content, file=place.file, key=request.key, value=request.value)
        bad, what = git.last_change(head, place.file), f"set {request.key} = {request.value} in {place.file}"
    else:
        bad = git.commit(request.commit.strip()).id
        if place.file not in git.files_of(bad):
            text = f"commit {bad[:12]} did not change {place.file}: name the instance whose file it changed"
            raise InvalidInput(text)
        if git.standing(bad, place.file, place.repository.branch) is Standing.NOT_IN_FORCE:
            raise Conflict(f"commit {bad[:12]} is no longer in force in {place.file}: there is nothing to undo")
        what = f"undo commit {bad[:12]} in {place.file} ({git.commit(bad).subject})"
    reason = request.reason.strip()
    return record_fix(
        res,
        lambda id, now: Fix(
            id=id,
            state=FixState.PROPOSED,
            incident=incident.id,
            service=place.service,
            instance=place.instance,
            repository=place.repository.path,
            file=place.file,
            bad_commit=bad,
            diff="" if request.key else git.diff(bad, place.file),
            created_at=now,
            updated_at=now,
            sets={request.key: request.value} if request.key else {},
            requested_by=request.requested_by.strip(),
            reason=reason,
        ),
        f"{what}: {reason}",
        {"commit": bad},
    )


def _check(incident: Incident, request: FixRequest) -> None:
    if not request.requested_by.strip() or request.requested_by.strip() == QUELL:
        raise InvalidInput("requested_by is empty: say who asks for the fix; whoever asks cannot approve it")
    if not request.reason.strip():
        raise InvalidInput("reason is empty: say why; it goes into the commit and onto the timeline")
    if bool(request.key) == bool(request.commit):
        given = "both" if request.key else "neither"
        raise InvalidInput(f"key and commit: {given} given; a fix sets one value (key, value) or undoes one commit")
    can_resolve = IncidentState.RESOLVING in INCIDENT_TRANSITIONS[incident.state]
    if not can_resolve and incident.state is not IncidentState.RESOLVING:
        raise Conflict(f"{incident.id} is {incident.state}: a fix belongs to an incident that was triaged and goes on")


def _place_of(res: Resources, incident: Incident, name: str) -> _Place:
    """The instance's or the service's file; without a name what the incident's service has, where that is one file."""
    catalog = res.config.catalog
    instance, wanted = catalog.instance(name), catalog.service(name or incident.service)
    service = catalog.service(instance.service) if instance is not None else wanted
    if service is None:
        raise InvalidInput(not_defined("instance or service", name, {*catalog.instances, *catalog.services}))
    repository = service.repository
    if repository is None:
        raise InvalidInput(f"service {service.name} has no repository in services.yaml: Quell knows no file of it")
    if instance is not None and name in repository.files:
        return _Place(service=service.name, instance=name, file=repository.files[name], repository=repository)
    if service.name in repository.files:
        return _Place(service=service.name, instance=None, file=repository.files[service.name], repository=repository)
    files = ", ".join(repository.files)
    raise InvalidInput(f"{name or service.name} has no file of its own in services.yaml: name one of {files}")


def require_same(fix: Fix, request: FixRequest | None) -> Fix:
    """The fix in the making, where it is what is asked for now. Raises Conflict."""
    if request is not None and request.is_given and not is_same(fix, request):
        raise Conflict(f"{fix.id} of {fix.incident} is {fix.state}: end it first (quell fix revert {fix.id})")
    return fix
