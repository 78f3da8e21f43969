"""The ground of a bisection: which repository, which paths, and between which two commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from quell.adapters.git import GitRepository, open_repository
from quell.incidents.errors import InvalidInput, NotFound
from quell.incidents.incident import Incident
from quell.incidents.service import ConfigRepository
from quell.resolution.candidate import Candidate
from tasks.resources import Resources

MOST_COMMITS = 64  # of the service's files before the onset: six trials
_LOOKED_BACK = timedelta(days=30)
_CLOCK_SKEW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is bisected: the repository of the service, its paths, and the ends of its history."""

    service: str
    instance: str
    repository: ConfigRepository
    git: GitRepository
    paths: tuple[str, ...]
    bad: str  # the newest commit that the trouble can come from
    good: str  # before the oldest one that is looked at
    likeliest: str = ""  # the first of the ranked ones that lies between them


def ground_of(res: Resources, incident: Incident, ranked: Sequence[Candidate]) -> Ground:
    """The service of the likeliest commit, of the first suspect, or of the incident: the first with a repository."""
    catalog = res.config.catalog
    nodes = [catalog.instance(suspect.node) for suspect in incident.suspects]
    names = [*(c.change.service for c in ranked[:1]), *(i.service for i in nodes if i), incident.service]
    services = [service for name in names if (service := catalog.service(name)) and service.repository]
    if not services or services[0].repository is None:
        raise NotFound(f"neither {' nor '.join(dict.fromkeys(names))} has a repository in services.yaml")
    service, repository = services[0], services[0].repository
    if not repository.trial and not repository.validate:
        raise InvalidInput(f"service {service.name} has no check: give services.yaml repository.trial or .validate")
    git = open_repository(repository)
    git.catch_up(repository.branch)
    instances = [c.change.instance or "" for c in ranked[:1]]
    instances += [i.name for i in nodes if i and i.service == service.name]
    known = [name for name in instances if name in repository.files]
    instance = known[0] if known else next(iter(repository.files))
    paths = (*repository.files.values(), *(f":(glob){glob}" for glob in repository.also))
    linked = _linked(git, repository.branch, ranked)
    bad = _at_onset(git, repository.branch, incident, linked)
    return Ground(
        service=service.name,
        instance=instance,
        repository=repository,
        git=git,
        paths=paths,
        good=_before_all(git, incident, bad, linked, paths),
        bad=bad,
        likeliest=linked[0] if linked else "",
    )


def _linked(git: GitRepository, branch: str, ranked: Sequence[Candidate]) -> list[str]:
    """The ranked commits that are on the branch, by their full names."""
    head = git.head(branch)
    there = [c.commit for c in ranked if git.run("merge-base", "--is-ancestor", c.commit, head).is_ok]
    return [git.commit(commit).id for commit in there]


def _at_onset(git: GitRepository, branch: str, incident: Incident, linked: Sequence[str]) -> str:
    """The newest commit that the trouble can come from."""
    until = (incident.trouble_at + _CLOCK_SKEW).isoformat()
    bad = git.git("rev-list", "--max-count=1", f"--before={until}", git.head(branch)).strip()
    for commit in linked:  # a pipeline says that it was deployed, whatever the committer's clock says
        if not bad or not git.run("merge-base", "--is-ancestor", commit, bad).is_ok:
            bad = commit
    if not bad:
        raise NotFound(f"branch {branch} has no commit from before the onset, {until}")
    return bad


def _before_all(git: GitRepository, incident: Incident, bad: str, linked: Sequence[str], paths: Sequence[str]) -> str:
    """The commit before the oldest one that is looked at."""
    since = (incident.trouble_at - _LOOKED_BACK).isoformat()
    listed = git.git("rev-list", f"--max-count={MOST_COMMITS}", f"--since={since}", bad, "--", *paths).split()
    wanted = set(listed) | set(linked) | {bad}
    order = [one for one in git.git("rev-list", "--topo-order", bad).split() if one in wanted]
    return git.parent(order[-1]) or order[-1]
