"""What can be wrong between notifications.yaml and the other files: receivers, labels of matchers, link templates."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from quell.config.problem import KeyPath, Problem, not_defined
from quell.config.source import Source
from quell.incidents.errors import InvalidInput
from quell.incidents.incident import Severity
from quell.incidents.labels import SERVICE, SEVERITY
from quell.incidents.matcher import Matcher, MatchOperator, parse_matchers
from quell.incidents.notification import NotificationKind
from quell.triage.notification_link import PLACEHOLDERS, unknown_placeholders
from quell.triage.notification_route import ROUTED_BY


def check_notifications(source: Source, services_file: Source) -> Iterator[Problem]:
    """Every problem of the routes, and of the link templates in both files."""
    known_services = _mapping(services_file.data.get("services"))
    receivers = _mapping(source.data.get("receivers"))
    values = {
        SERVICE: known_services if services_file.is_read else None,
        SEVERITY: list(Severity),
        "kind": list(NotificationKind),
        "team": {str(_mapping(body).get("team")) for body in known_services.values()} if known_services else None,
    }
    for index, route in enumerate(_items(source.data.get("routes"))):
        path: KeyPath = ("routes", index)
        for place, name in enumerate(_items(_mapping(route).get("receivers"))):
            if isinstance(name, str) and name not in receivers:
                yield source.problem((*path, "receivers", place), not_defined("receiver", name, receivers))
        yield from _check_matchers(source, (*path, "match"), _mapping(route).get("match"), values)
    yield from _check_links(source, ("links",), source.data.get("links"))
    for name, body in known_services.items():
        yield from _check_links(services_file, ("services", name, "links"), _mapping(body).get("links"))


def _check_matchers(
    source: Source, path: KeyPath, text: object, values: Mapping[str, Iterable[str] | None]
) -> Iterator[Problem]:
    """A label that routes never see, or a value that never comes, would be a route that silently never matches."""
    for matcher in _parsed(text):
        known = values.get(matcher.name)
        if matcher.name not in ROUTED_BY:
            yield source.problem(path, not_defined("label", matcher.name, ROUTED_BY))
        elif known is not None and matcher.operator is MatchOperator.EQUAL and matcher.value not in [*known, ""]:
            yield source.problem(path, not_defined(matcher.name, matcher.value, known))


def _parsed(text: object) -> tuple[Matcher, ...]:
    try:
        return parse_matchers(text) if isinstance(text, str) else ()
    except InvalidInput:
        return ()  # the parser of the file says so


def _check_links(source: Source, path: KeyPath, links: object) -> Iterator[Problem]:
    for name, template in _mapping(links).items():
        for unknown in unknown_placeholders(template) if isinstance(template, str) else ():
            yield source.problem((*path, name), not_defined("placeholder", unknown, PLACEHOLDERS))


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
