"""Drift: what an instance runs is compared with what its branch says; who changed only one of them must be told.

Fixes change both or neither. A value that somebody set by hand at run time, or a commit that nobody deployed, is found
here: by an alert of Quell's own, once two looks in a row agree, which ends by itself when both agree again.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import GitRepository
from quell.detection.episode import Finding
from quell.detection.health import OWN_SERVICE
from quell.incidents.errors import QuellError, Unavailable
from quell.incidents.incident import Severity
from quell.incidents.labels import ALERTNAME, INSTANCE, SERVICE, SEVERITY
from quell.incidents.service import Catalog, ConfigRepository
from quell.ports import Document
from tasks.episodes import open_episodes, record_condition
from tasks.resources import Resources, resources

DRIFTED = "ConfigurationDrift"
LAST_LOOK = "drift:last"
_KIND = "drift"
_LOOKS = 2  # in a row: between a commit and its deployment both differ for a moment
AT_ONCE = 4
_TIMEOUT = timedelta(seconds=10)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One file of one instance (or of a service as a whole)."""

    name: str
    service: str
    file: str
    repository: ConfigRepository

    @property
    def document(self) -> str:
        return f"{_KIND}:{self.service}/{self.name}"


def look_for_drift(res: Resources) -> list[str]:
    """Compare everything that can be compared, when it is time to; one sentence for each that differs or is unseen."""
    if not _is_time(res):
        return []
    places = list(places_of(res.config.catalog))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [said for said in pool.map(partial(_look, res), places) if said]


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
    """Whose running configuration can be asked for."""
    for service in catalog.services.values():
        repository = service.repository
        if repository is not None and repository.running:
            for name, file in repository.files.items():
                yield Place(name=name, service=service.name, file=file, repository=repository)


def _is_time(res: Resources) -> bool:
    """Whether the last look is long enough ago; whoever asks first makes the next one."""
    with res.store.writing() as tx:
        now, last = res.clock(), tx.documents.get(LAST_LOOK)
        if last is not None and now - last.updated_at < res.config.intervals.drift:
            return False
        tx.documents.put(Document(id=LAST_LOOK, kind=_KIND, updated_at=now, body={}))
    return True


def _look(res: Resources, place: Place) -> str:
    try:
        found = difference(place)
    except QuellError as error:  # no verdict: neither well nor drifted
        return f"whether {place.name} runs what its branch says cannot be seen: {error}"
    with res.store.reading() as tx:
        is_open = bool(open_episodes(tx, place.document))
    if found or is_open:
        finding = _finding(place, found, res) if found else None
        record_condition(res, place.document, finding, at=res.clock(), confirm=_LOOKS)
    return found


def _finding(place: Place, found: str, res: Resources) -> Finding:
    """About Quell's own service: nobody is harmed by it yet, and no playbook shall answer."""
    advice = "deploy the branch again, or commit what was changed by hand"
    return Finding(
        key=place.document,
        labels={ALERTNAME: DRIFTED, SERVICE: OWN_SERVICE, INSTANCE: place.name, SEVERITY: Severity.MINOR},
        annotations={"summary": f"{found}: {advice}", "reason": found, "service": place.service},
        since=res.clock(),
    )


@task(name="look for drift", task_run_name="look for drift", cache_policy=NO_CACHE)
def find_drift() -> list[str]:
    """Compare what runs with git, every few minutes; one sentence for each difference."""
    return look_for_drift(resources())
