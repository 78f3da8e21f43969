"""What an instance runs, compared with what its branch says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import open_repository
from quell.incidents.errors import Unavailable
from quell.incidents.service import Catalog, ConfigRepository, Service

_TIMEOUT = timedelta(seconds=10)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One file of one instance (or of a service as a whole)."""

    name: str
    service: str
    file: str
    repository: ConfigRepository


def difference(place: Place) -> str:
    """What differs between the branch and what runs; empty where nothing does. Raises QuellError when it is unseen."""
    repository, git = place.repository, open_repository(place.repository)
    head = git.head(repository.branch)
    committed = git.content(head, place.file)
    running, what = _ask(place)
    if running == (committed or "").strip():
        return ""
    return f"{place.name} runs {what} of {place.file}, branch {repository.branch} is at {head[:12]}"


def content_of(place: Place) -> str:
    """The file's content that the instance runs, without blanks around. Raises QuellError when it is unseen."""
    return _ask(place)[0]


def _ask(place: Place) -> tuple[str, str]:
    """What it runs, and how that is called."""
    repository, git = place.repository, open_repository(place.repository)
    values = {"file": place.file, "instance": place.name}
    result = run_command(fill_in(repository.running, values), cwd=git.path, timeout=_TIMEOUT)
    if not result.is_ok:
        raise Unavailable(f"running of {place.name} failed (exit code {result.code}): {result.said}")
    told = result.stdout.strip()
    is_commit = _COMMIT.fullmatch(told) is not None
    running = git.content(told, place.file) if is_commit else told
    return (running or "").strip(), f"commit {told[:12]}" if is_commit else "another content"


def places_of(catalog: Catalog) -> Iterator[Place]:
    """Whose running configuration can be asked for: where instances can be reloaded one by one, each of them."""
    for service in catalog.services.values():
        repository = service.repository
        if repository is not None and repository.running:
            for name, file in repository.files.items():
                for one in _names(service, name):
                    yield Place(name=one, service=service.name, file=file, repository=repository)


def remote_repositories(catalog: Catalog) -> list[ConfigRepository]:
    """One for each branch that counts at a remote."""
    found = [s.repository for s in catalog.services.values() if s.repository and s.repository.remote]
    return list({(one.path, one.remote, one.branch): one for one in found}.values())


def _names(service: Service, name: str) -> tuple[str, ...]:
    """The instances that have this entry's file."""
    repository = service.repository
    if name != service.name or repository is None:
        return (name,)
    if service.blue_green is not None:
        return tuple(one.name for one in service.instances)
    return tuple(one.name for one in service.readers) if repository.one_by_one else (name,)
