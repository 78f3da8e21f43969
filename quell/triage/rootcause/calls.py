"""Who calls whom, in the names that the metrics use.

A graph often comes from elsewhere than the metrics: it names services where metrics name pods, it knows hosts and
queues that nobody measures, and parts are missing. Names are matched exactly, then without case, then as the service of
a pod (`cart` for `cart-579f5-wc2lz`). A node that nobody measures is bridged: who calls it calls what it calls.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Edge = tuple[str, str]  # caller, callee
_POD = re.compile(r"^(?P<service>.+?)-(?:[a-z0-9]*\d[a-z0-9]*-[a-z0-9]{4,10}|\d+|[a-z0-9]*\d[a-z0-9]{3,})$")
_JOINTS = ("->", "→", "=>", "__", "_", ":", "|", "/", "~")


def service_of(node: str) -> str:
    """The service that a pod belongs to; a node that is no pod is its own.

    >>> service_of("cart-579f59597d-wc2lz"), service_of("checkout-2"), service_of("email")
    ('cart', 'checkout', 'email')
    """
    found = _POD.match(node)
    return found["service"] if found else node


@dataclass(frozen=True, kw_only=True)
class Names:
    """From a name in any spelling to the measured nodes it stands for."""

    exact: frozenset[str]
    loose: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, nodes: Iterable[str]) -> "Names":
        loose: dict[str, list[str]] = defaultdict(list)
        listed = tuple(nodes)
        for node in listed:
            for spelling in dict.fromkeys((node.lower(), service_of(node).lower())):
                loose[spelling].append(node)
        return cls(exact=frozenset(listed), loose={name: tuple(found) for name, found in loose.items()})

    def find(self, name: str) -> tuple[str, ...]:
        """Measured nodes that `name` may mean: itself, or the pods of that service; empty when unknown."""
        if name in self.exact:
            return (name,)
        key = name.strip().lower()
        return self.loose.get(key) or self.loose.get(service_of(key), ())

    def pods(self, service: str) -> tuple[str, ...]:
        """The pods of a service, itself not counted."""
        return tuple(node for node in self.loose.get(service.lower(), ()) if node != service)

    def split_call(self, node: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Caller and callee when the node's name is a pair of measured nodes, such as `web_cart` or `web->cart`."""
        for joint in _JOINTS:
            place = node.find(joint)
            while place > 0:
                left, right = self.find(node[:place].strip()), self.find(node[place + len(joint) :].strip())
                if left and right and node not in left and node not in right:
                    return left, right
                place = node.find(joint, place + 1)
        return None


@dataclass(frozen=True, kw_only=True)
class Graph:
    callees: dict[str, frozenset[str]]
    callers: dict[str, frozenset[str]]

    def reach(self, node: str) -> frozenset[str]:
        """Everything called from `node`, directly or not; itself not counted, unless it calls itself."""
        return _spread(self.callees, node)

    def above(self, node: str) -> frozenset[str]:
        return _spread(self.callers, node)

    def knows(self, node: str) -> bool:
        return node in self.callees or node in self.callers


def _spread(steps: dict[str, frozenset[str]], start: str) -> frozenset[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for follower in steps.get(todo.pop(), frozenset()):
            if follower not in seen:
                seen.add(follower)
                todo.append(follower)
    return frozenset(seen)


def build_graph(edges: Iterable[Edge], nodes: Sequence[str]) -> Graph:
    """The graph between measured nodes, with unmeasured ones bridged."""
    names = Names.of(nodes)
    raw: dict[str, set[str]] = defaultdict(set)
    for caller, callee in edges:
        for source in names.find(caller) or (caller,):
            raw[source].update(target for target in names.find(callee) or (callee,) if target != source)
    measured = frozenset(nodes)
    callees = {node: frozenset(_bridged(raw, node, measured)) for node in raw if node in measured}
    callees = {node: found for node, found in callees.items() if found}
    callers: dict[str, set[str]] = defaultdict(set)
    for node, found in callees.items():
        for callee in found:
            callers[callee].add(node)
    return Graph(callees=callees, callers={node: frozenset(found) for node, found in callers.items()})


def _bridged(raw: dict[str, set[str]], node: str, measured: frozenset[str]) -> set[str]:
    found: set[str] = set()
    seen: set[str] = set()
    todo = list(raw[node])
    while todo:
        follower = todo.pop()
        if follower in seen:
            continue
        seen.add(follower)
        if follower in measured:
            if follower != node:
                found.add(follower)
        else:
            todo.extend(raw.get(follower, ()))
    return found
