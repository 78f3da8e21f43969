"""Why two services belong together: the path of calls between them, in words."""

from collections import deque
from dataclasses import dataclass

from quell.incidents.alert import Alert
from quell.incidents.service import Catalog

UNKNOWN_SERVICE = "unknown"


def service_of(alert: Alert, catalog: Catalog) -> str:
    """The service an alert speaks of: its label, else the service of its instance, else `unknown`."""
    if alert.service:
        return alert.service
    instance = catalog.instance(alert.instance or "")
    return instance.service if instance else UNKNOWN_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """`hops` is 0 for the same service, else the number of calls on the way."""

    hops: int
    words: str
    rule: str = "dependency"


def relate(one: str, other: str, catalog: Catalog) -> Relation | None:
    """How trouble in one can show in the other; None when no chain of calls leads from either to the other.

    The unknown service is related to nothing: to say otherwise would join strangers.
    """
    if UNKNOWN_SERVICE in (one, other):
        return None
    if one == other:
        return Relation(hops=0, words=f"same service {one}", rule="same service")
    paths = [path for path in (_path(one, other, catalog), _path(other, one, catalog)) if path]
    if not paths:
        return None
    path = min(paths, key=len)
    return Relation(hops=len(path) - 1, words=_in_words(path))


def _path(caller: str, callee: str, catalog: Catalog) -> list[str] | None:
    """The shortest chain of calls from caller to callee, both included."""
    came_from: dict[str, str] = {}
    todo = deque([caller])
    while todo:
        name = todo.popleft()
        service = catalog.service(name)
        for needed in service.depends_on if service else ():
            if needed in came_from or needed == caller:
                continue
            came_from[needed] = name
            if needed == callee:
                return _unwind(caller, callee, came_from)
            todo.append(needed)
    return None


def _unwind(caller: str, callee: str, came_from: dict[str, str]) -> list[str]:
    path = [callee]
    while path[-1] != caller:
        path.append(came_from[path[-1]])
    return path[::-1]


def _in_words(path: list[str]) -> str:
    """
    >>> _in_words(["storefront", "checkout", "payment"])
    'storefront calls checkout, which calls payment'
    """
    return f"{path[0]} calls {', which calls '.join(path[1:])}"
