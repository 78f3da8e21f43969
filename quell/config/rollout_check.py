"""What a service needs so that one instance can get a fix before the others, and who gets no canary at all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

from quell.config.problem import Problem
from quell.config.source import Source
from quell.incidents.service import Catalog, Service

_LEAST = 2  # servers of one backend: the one that is tried, and one to compare it with


def check_one_by_one(source: Source, service: str, body: Mapping[str, Any]) -> Iterator[Problem]:
    """`repository.one_by_one` of one service: the file is the service's, and a reload can be for one instance."""
    repository = _mapping(body.get("repository"))
    if repository.get("one_by_one") is not True:
        return
    path = ("services", service, "repository")
    if body.get("blue_green") is not None:
        text = f'service "{service}" has blue_green: its fixes are tried on the idle colour; take one of the two out'
        yield source.problem((*path, "one_by_one"), text)
    files = _mapping(repository.get("files"))
    if service not in files:
        text = (
            f'files has no entry "{service}": one_by_one is for the one file that all instances of the service read; '
            "add it, or take one_by_one out (an instance with a file of its own is tried by itself)"
        )
        yield source.problem((*path, "files"), text)
    for key in ("reload", "running"):
        words = repository.get(key)
        is_missing = not words and key == "reload"
        if is_missing or (isinstance(words, list) and words and not _names_instance(cast(list[object], words))):
            text = f"{key} does not contain {{instance}}: with one_by_one it is called for one instance at a time"
            yield source.problem((*path, key), text)
    yield from _check_instances(source, service, body, files)


def _check_instances(
    source: Source, service: str, body: Mapping[str, Any], files: Mapping[str, Any]
) -> Iterator[Problem]:
    """Enough of them are servers of one backend, and each of those can be asked by itself."""
    here, backends = ("services", service, "instances"), Counter[str]()
    for name, raw in _mapping(body.get("instances")).items():
        server = _mapping(raw).get("server")
        if name in files or not isinstance(server, str):
            continue
        backends[server.partition("/")[0]] += 1
        if not _mapping(raw).get("url"):
            text = f'instance "{name}" has no url: with one_by_one it is asked by itself before users see it'
            yield source.problem((*here, name), text)
    if max(backends.values(), default=0) < _LEAST:
        found = ", ".join(f"{count} in {backend}" for backend, count in backends.items()) or "none with a server"
        text = (
            f"one_by_one needs at least {_LEAST} instances that read the service's file and have a `server` in one "
            f"backend, to compare one with the other; there are: {found}"
        )
        yield source.problem(("services", service, "repository", "one_by_one"), text)


def rollout_hints(catalog: Catalog) -> Iterator[str]:
    """Services that are in order and get no canary, each with what to do."""
    for service in catalog.services.values():
        if _has_no_canary(service):
            yield (
                f"services.{service.name}: its {len(service.readers)} instances read one file, so a fix reaches all of "
                "them at once, has no canary and is handed to a person: say `repository.one_by_one: true` where "
                "`reload` can be for one instance, or give it two colours (blue_green); see docs/fixes.md"
            )


def _has_no_canary(service: Service) -> bool:
    repository = service.repository
    is_one_by_one = repository is not None and repository.one_by_one
    return len(service.readers) >= _LEAST and service.blue_green is None and not is_one_by_one


def _names_instance(words: list[object]) -> bool:
    return any(isinstance(word, str) and "{instance}" in word for word in words)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
