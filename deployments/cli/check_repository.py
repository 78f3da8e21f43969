"""Whether the repositories hold what the configuration names, in order, and whether it is what runs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from deployments.cli.finding import Finding
from deployments.cli.guard import guard
from quell.adapters.commands import fill_in, run_command
from quell.adapters.git import GitRepository, open_repository
from quell.adapters.git_remote import may_push
from quell.config.config import Config
from quell.incidents.errors import QuellError
from quell.incidents.service import ConfigRepository, Service
from tasks.drift import AT_ONCE
from tasks.running import Place, difference, places_of, remote_repositories


def check_repositories(config: Config) -> Iterator[Finding]:
    """Whether each service's repository, branch and files exist; validator and guards accept what is in force."""
    for service in config.catalog.services.values():
        if service.repository is not None:
            yield _check_repository(service, service.repository, config.folder / "guards")


def _check_repository(service: Service, repository: ConfigRepository, common: Path) -> Finding:
    def finding(is_ok: bool, text: str) -> Finding:
        return Finding(part="repository", subject=service.name, is_ok=is_ok, text=text)

    path = Path(repository.path)
    if not path.is_dir():
        return finding(False, f"{path} does not exist")
    try:
        git = open_repository(repository)
        head = git.head(repository.branch)
        if repository.remote and not git.run("remote", "get-url", repository.remote).is_ok:
            return finding(False, f"{path} has no remote {repository.remote}; `git remote` lists those that it has")
        missing = [file for file in repository.files.values() if git.content(head, file) is None]
        if missing:
            return finding(False, f"{', '.join(missing)} not in {path} on branch {repository.branch}")
        refused = _validate(repository) or "; ".join(_broken_guards(repository, common))
    except QuellError as error:
        return finding(False, str(error))
    return finding(not refused, refused or f"{len(repository.files)} files at {head[:12]}")


def _broken_guards(repository: ConfigRepository, common: Path) -> list[str]:
    """Where the files in force break the repository's own guards, or the common ones of the configuration."""
    root = Path(repository.path)
    files = [root / file for file in repository.files.values()]
    folders = [folder for folder in (root / repository.guards, common) if folder.is_dir()]
    return [line for folder in folders for line in guard(files, guards=folder, root=root)]


def _validate(repository: ConfigRepository) -> str:
    """What the validator has against the files in force; empty when nothing."""
    if not repository.validate:
        return ""
    for instance, file in repository.files.items():
        command = fill_in(repository.validate, {"file": file, "instance": instance})
        result = run_command(command, cwd=Path(repository.path), timeout=timedelta(seconds=30))
        if not result.is_ok:
            return f"validator refuses {file}: {result.said}"
    return ""


def check_remotes(config: Config) -> Iterator[Finding]:
    """Whether each remote can be reached, would take a push, and has everything that is on the branch here."""
    for repository in remote_repositories(config.catalog):
        yield _check_remote(open_repository(repository), repository.branch)
    at = config.connections
    if at.prometheus_rules is not None and at.prometheus_rules_branch:
        yield _check_rules(GitRepository(at.prometheus_rules), at.prometheus_rules_branch)
        if at.prometheus_rules_remote:
            git = GitRepository(at.prometheus_rules, remote=at.prometheus_rules_remote)
            yield _check_remote(git, at.prometheus_rules_branch)


def _check_remote(git: GitRepository, branch: str) -> Finding:
    subject = f"{git.remote} of {git.path}"
    try:
        head = git.fetch(branch)
        may_push(git, git.remote, branch)
    except QuellError as error:
        return Finding(part="remote", subject=subject, is_ok=False, text=str(error))
    return Finding(
        part="remote", subject=subject, is_ok=True, text=f"{branch} is at {head[:12]} there, and Quell may write"
    )


def _check_rules(git: GitRepository, branch: str) -> Finding:
    """Whether what Prometheus reads is the branch that limits are committed to."""

    def finding(is_ok: bool, text: str) -> Finding:
        return Finding(part="rules", subject=str(git.path), is_ok=is_ok, text=text)

    try:
        head = git.head(branch)
        found = git.git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
    except QuellError as error:
        return finding(False, str(error))
    if found != branch:
        return finding(False, f"branch {found} is checked out, prometheus_rules_branch is {branch}: check that one out")
    return finding(True, f"each limit is a commit on {branch}, which is at {head[:12]}")


def check_running(config: Config) -> Iterator[Finding]:
    """Whether each instance that can be asked says what it runs, and whether that is what its branch says."""
    # one without its folder is told of as a repository
    services = config.catalog.services
    places = [place for place in places_of(config.catalog) if Path(place.repository.path).is_dir()]
    # of two colours the idle one has another release on purpose; drift looks at the one that serves
    places = [place for place in places if services[place.service].blue_green is None]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(_check_running, places)


def _check_running(place: Place) -> Finding:
    try:
        drifted = difference(place)
    except QuellError as error:
        drifted = str(error)
    text = drifted or f"runs what branch {place.repository.branch} says"
    return Finding(part="running", subject=place.name, is_ok=not drifted, text=text)
