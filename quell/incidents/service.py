"""The user's services: who owns them, what they depend on, which instances serve them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One server of a service. `server` is `backend/server` as the load balancer names it, `url` its own address.

    `probe` is the path under `url` that answers 2xx while the instance is well.
    """

    name: str
    service: str
    server: str | None = None
    url: str | None = None
    probe: str = "/health"
    zone: str | None = None
    weight: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRepository:
    """Where a service's configuration lives, and how a change there is checked and put into force.

    `validate` and `reload` are commands (no shell) run in the repository's working tree; `{file}` and `{instance}`
    are replaced. `remote` names the remote whose branch counts: it is fetched before every change and pushed with it.
    Where it is empty, the branch of this repository counts. `files` maps an instance (or the service) to its file in
    the repository. `running` is a command that prints what an instance runs: the commit that it read its file at, or
    the file's content. `also` are globs of what else belongs to the service. `one_by_one`: `reload` and `running` are
    called with the instance that is meant and leave the others alone, also where all of them read the service's one
    file. `trial` is a command that tries a version (`{tree}`) without touching what users reach: exit code 0 when it is
    good, 125 when it says nothing, anything else when it is bad.
    """

    path: str
    branch: str = "main"
    remote: str = ""
    files: Mapping[str, str]
    validate: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    one_by_one: bool = False
    guards: str = "guards"
    also: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()
    trial_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """A service in two colours, each a backend at the load balancer, of which one serves and one is idle.

    `route` is the key of backends.map that says which one serves. `probes` are paths that every instance of a colour
    has to answer well, beside its own probe, before users see it. The colour that served before is kept as it is for
    `keep_warm` after a switch, so that switching back is one command.
    """

    route: str
    backends: tuple[str, ...]  # two
    probes: tuple[str, ...] = ()
    keep_warm: timedelta = timedelta(minutes=10)

    def other(self, backend: str) -> str:
        return self.backends[1] if backend == self.backends[0] else self.backends[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A component that users or other services call."""

    name: str
    team: str
    owner: str = ""
    description: str = ""
    depends_on: tuple[str, ...] = ()
    is_user_facing: bool = False
    instances: tuple[Instance, ...] = ()
    repository: ConfigRepository | None = None
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    runbook: str = ""
    aliases: tuple[str, ...] = ()  # what users call it
    blue_green: BlueGreen | None = None

    @property
    def readers(self) -> tuple[Instance, ...]:
        """The instances that read the service's own file: those that have none of their own."""
        if self.repository is None or self.name not in self.repository.files:
            return ()
        return tuple(i for i in self.instances if i.name not in self.repository.files)

    def behind(self, backend: str) -> tuple[Instance, ...]:
        """The instances that are servers of this backend."""
        return tuple(i for i in self.instances if i.server and i.server.partition("/")[0] == backend)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All services and the call graph between them (caller depends on callee)."""

    services: Mapping[str, Service] = field(default_factory=dict[str, Service])

    def service(self, name: str) -> Service | None:
        return self.services.get(name)

    def instance(self, name: str) -> Instance | None:
        return self.instances.get(name)

    @cached_property
    def instances(self) -> Mapping[str, Instance]:
        return {i.name: i for s in self.services.values() for i in s.instances}

    @cached_property
    def callers(self) -> Mapping[str, tuple[str, ...]]:
        """service -> the services that depend on it directly."""
        return {name: tuple(s.name for s in self.services.values() if name in s.depends_on) for name in self.services}

    def dependencies(self, name: str) -> frozenset[str]:
        """Everything that `name` needs, directly or through others, without itself; cycles are allowed."""
        return _reach(name, {s.name: s.depends_on for s in self.services.values()})

    def dependents(self, name: str) -> frozenset[str]:
        """Everything that needs `name`, directly or through others, without itself."""
        return _reach(name, self.callers)

    def are_related(self, one: str, other: str) -> bool:
        """Whether trouble in one can show in the other: same service, or one reaches the other by calls."""
        return one == other or other in self.dependencies(one) or one in self.dependencies(other)


def _reach(start: str, edges: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    seen: set[str] = set()
    todo = list(edges.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(edges.get(name, ()))
    return frozenset(seen - {start})
