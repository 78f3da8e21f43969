"""The deployment document and log of a service, brought up to date on a branch of its own repository, for review."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from quell.adapters.git import open_repository
from quell.adapters.guards import load_guards
from quell.incidents.errors import NotFound, QuellError
from quell.incidents.fix import FixState
from quell.incidents.service import Service
from quell.resolution.deployment_document import Deployments, GuardFact, render_document, render_log, splice
from tasks.artifacts import publish
from tasks.drill import find_drills
from tasks.resources import Resources, resources

FOLDER = "docs/deployment"
_MOST = 200  # rows of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What waits for review: `diff` against the deployed branch; empty when the documents are up to date."""

    service: str
    branch: str
    diff: str


def gather_deployments(res: Resources, service: Service) -> Deployments:
    """What the record knows of deploying the service."""
    with res.store.reading() as tx:
        of_service = {"service": service.name}
        changes = tx.changes.find(of_service, order="at", descending=True, limit=_MOST)
        incidents = tx.incidents.find(of_service, order="opened_at", descending=True, limit=_MOST)
        fixes = tx.fixes.find(of_service, order="updated_at", descending=True, limit=_MOST)
        drills = find_drills(tx)
    signals = [s for s in res.config.signals.values() if s.service == service.name or s.is_user_facing]
    return Deployments(
        service=service,
        changes=changes,
        incidents=incidents,
        fixes=fixes,
        guards=_guards(service),
        watched=[(signal.name, signal.description or f"{signal.kind} in {signal.unit}") for signal in signals],
        drills=drills,
        now=res.clock(),
        proved_rollback=next((fix for fix in fixes if fix.undoes and fix.state is FixState.PROMOTED), None),
    )


def _guards(service: Service) -> tuple[GuardFact, ...]:
    if service.repository is None:
        return ()
    guards = load_guards(Path(service.repository.path) / service.repository.guards)
    return tuple(GuardFact(name=g.name, incident=g.incident, asks=g.message, state=g.state) for g in guards)


def documents_of(facts: Deployments, before: Mapping[str, str | None]) -> dict[str, str]:
    """The two documents by their file; what people wrote around the kept parts stays."""
    name = facts.service.name
    document, log = document_file(name), log_file(name)
    return {
        document: splice(before.get(document), render_document(facts), f"Deploying {name}"),
        log: splice(before.get(log), render_log(facts), f"Deployment log of {name}"),
    }


def document_file(service: str) -> str:
    return f"{FOLDER}/{service}.md"


def log_file(service: str) -> str:
    return f"{FOLDER}/{service}-log.md"


def propose_documents(res: Resources, name: str) -> Proposed:
    """Bring both documents up to date on the branch `quell/docs-SERVICE`, begun anew at the deployed branch.

    Nothing is merged: the diff is for a person, and its branch is at the remote where there is one. Raises NotFound for
    a service without a repository, and Unavailable while its remote cannot be reached.
    """
    service = res.config.catalog.service(name)
    if service is None or service.repository is None:
        raise NotFound(f"service {name} has no repository in services.yaml; its documents have no place")
    git, branch = open_repository(service.repository), f"quell/docs-{name}"
    facts = gather_deployments(res, service)
    git.catch_up(service.repository.branch)
    with git.work_tree(branch, start=service.repository.branch) as tree:
        files = (document_file(name), log_file(name))
        before = {file: _read(tree.path / file) for file in files}
        for file, text in documents_of(facts, before).items():
            tree.write(file, text)
        diff = tree.staged_diff()
        if diff:
            tree.commit(f"docs: what is known of deploying {name}\n\nFrom Quell's record; review, then merge.\n")
    if diff:
        git.publish(branch)
    else:
        git.forget(branch)
    return Proposed(service=name, branch=branch if diff else "", diff=diff)


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


@task(name="document deployments", task_run_name="document deployments", cache_policy=NO_CACHE)
def document_all() -> list[str]:
    """Both documents of every service with a repository; the branches that wait for review."""
    res = resources()
    waiting: list[str] = []
    for service in res.config.catalog.services.values():
        if service.repository is None:
            continue
        try:
            proposed = propose_documents(res, service.name)
        except QuellError as error:
            publish(f"deployment document {service.name}", f"not written: {error}", "Deployment document")
            continue
        if proposed.diff:
            waiting.append(proposed.branch)
            text = f"## {service.name}\n\nbranch `{proposed.branch}` waits for review\n\n```diff\n{proposed.diff}\n```"
            publish(f"deployment document {service.name}", text, "Deployment document, as a diff to review")
    return waiting
