"""What an instance runs, compared with what its branch says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import GitRepository
from quell.incidents.errors import Unavailable
from quell.incidents.service import Catalog, ConfigRepository

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
    repository, git = place.repository, GitRepository(Path(place.repository.path))
    head = git.head(repository.branch)
    committed = git.content(head, place.file)
    values = {"file": place.file, "instance": place.name}
    result = run_command(fill_in(repository.running, values), cwd=git.path, timeout=_TIMEOUT)
    if not result.is_ok:
        raise Unavailable(f"running of {place.name} failed (exit code {result.code}): {result.said}")
    told = result.stdout.strip()
    running = git.content(told, place.file) if (is_commit := _COMMIT.fullmatch(told) is not None) else told
    if (running or "").strip() == (committed or "").strip():
        return ""
    what = f"commit {told[:12]}" if is_commit else "another content"
    return f"{place.name} runs {what} of {place.file}, branch {repository.branch} is at {head[:12]}"


def places_of(catalog: Catalog) -> Iterator[Place]:
    """Whose running configuration can be asked for; in two colours each instance has the service's file."""
    for service in catalog.services.values():
        repository = service.repository
        if repository is not None and repository.running:
            for name, file in repository.files.items():
                is_of_all = name == service.name and service.blue_green is not None
                for one in (i.name for i in service.instances) if is_of_all else (name,):
                    yield Place(name=one, service=service.name, file=file, repository=repository)
