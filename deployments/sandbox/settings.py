"""The file that configures one instance: which keys it has, their absolute ranges, and how a bad file is refused.

The ranges are only what is physically sensible. A value inside them can still be wrong for the shop (a payment timeout
of 8 ms is); catching that is what guards are for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from quell.incidents.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A whole number between `low` and `high`, both included."""

    default: int
    low: int
    high: int
    meaning: str


def _port(service: str) -> Key:
    return Key(default=0, low=0, high=65535, meaning=f"where {service} is asked")


KEYS: Mapping[str, Mapping[str, Key]] = {
    "storefront": {
        "render_ms": Key(default=24, low=0, high=1000, meaning="time to render one page"),
        "workers": Key(default=2, low=1, high=64, meaning="pages rendered at the same time"),
        "queue_limit": Key(default=160, low=1, high=10000, meaning="requests waiting for a worker before 503"),
        "checkout_timeout_ms": Key(default=2000, low=1, high=30000, meaning="patience with checkout"),
        "catalog_timeout_ms": Key(default=1000, low=1, high=30000, meaning="patience with catalog"),
        "checkout_port": _port("checkout"),
        "catalog_port": _port("catalog"),
        "coupons": Key(default=0, low=0, high=1, meaning="ask catalog for coupons (1: yes)"),
    },
    "checkout": {
        "work_ms": Key(default=4, low=0, high=1000, meaning="own work for one order"),
        "payment_timeout_ms": Key(default=800, low=1, high=10000, meaning="patience with payment, for each try"),
        "retries": Key(default=1, low=0, high=5, meaning="further tries after a payment that timed out"),
        "payment_port": _port("payment"),
        "orders_per_second": Key(default=200, low=1, high=10000, meaning="orders in a second before 503"),
        "health_check": Key(default=1, low=0, high=1, meaning="answer /health (1: yes)"),
        "memory_mb": Key(default=512, low=1, high=65536, meaning="memory that the instance may use"),
        "certificate_until": Key(default=20991231, low=20000101, high=99991231, meaning="last day of its certificate"),
    },
    "payment": {
        "fastest_ms": Key(default=15, low=0, high=10000, meaning="the bank's quickest answer"),
        "slowest_ms": Key(default=30, low=0, high=10000, meaning="the bank's slowest answer"),
    },
    "catalog": {
        "work_ms": Key(default=5, low=0, high=1000, meaning="time to look up one page of products"),
        "page_size": Key(default=20, low=1, high=500, meaning="products on a page"),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    service: str
    instance: str
    values: Mapping[str, int]

    def seconds(self, key: str) -> float:
        return self.values[key] / 1000


def good_value(service: str, key: str, ports: Mapping[str, int]) -> int:
    """What the shop runs well with; `ports` are the load balancer's, by service."""
    return ports.get(key.removesuffix("_port"), 0) if key.endswith("_port") else KEYS[service][key].default


def render_settings(service: str, instance: str, ports: Mapping[str, int]) -> str:
    """A settings file with every key at its good value."""
    lines = [f"service: {service}", f"instance: {instance}"]
    lines += [f"{name}: {good_value(service, name, ports)}  # {key.meaning}" for name, key in KEYS[service].items()]
    return "\n".join(lines) + "\n"


def read_settings(path: Path) -> Settings:
    """Raises InvalidInput with one `file:line: message` for each mistake."""
    try:
        text = path.read_text()
    except OSError as error:
        raise InvalidInput(f"{path}:1: cannot be read: {error.strerror}") from error
    mistakes, found = _examine(text)
    if mistakes:
        raise InvalidInput("\n".join(f"{path}:{line}: {message}" for line, message in mistakes))
    service, instance = str(found.pop("service")), str(found.pop("instance"))
    defaults = {name: key.default for name, key in KEYS[service].items()}
    return Settings(service=service, instance=instance, values={**defaults, **_whole(found)})


def _whole(found: Mapping[str, object]) -> dict[str, int]:
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _examine(text: str) -> tuple[list[tuple[int, str]], dict[str, object]]:
    """The mistakes as (line, message), and what the file says."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return [(line, f"is not YAML: {error.problem}")], {}
    if not isinstance(root, yaml.MappingNode):
        return [(1, "must be a list of `key: value` lines")], {}
    entries = [(str(k.value), v, k.start_mark.line + 1) for k, v in root.value]
    constructor = yaml.SafeLoader("")
    found: dict[str, object] = {name: constructor.construct_object(node, deep=True) for name, node, _ in entries}
    mistakes = list(_mistakes(found, {name: line for name, _, line in entries}))
    names = [name for name, _, _ in entries]
    mistakes += [(line, f"{n} is given twice") for i, (n, _, line) in enumerate(entries) if n in names[:i]]
    return sorted(mistakes), found


def _mistakes(found: Mapping[str, object], lines: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    service = found.get("service")
    if not isinstance(service, str) or service not in KEYS:
        yield lines.get("service", 1), f"service is {service!r}, must be one of {', '.join(KEYS)}"
        return
    if not isinstance(found.get("instance"), str):
        yield lines.get("instance", 1), "instance must name the instance that reads this file"
    for name, value in found.items():
        if name in ("service", "instance"):
            continue
        key = KEYS[service].get(name)
        if key is None:
            yield lines[name], f"unknown key {name}; {service} knows {', '.join(KEYS[service])}"
        elif isinstance(value, bool) or not isinstance(value, int):
            yield lines[name], f"{name} is {value!r}, must be a whole number"
        elif not key.low <= value <= key.high:
            yield lines[name], f"{name} is {value}, must be between {key.low} and {key.high}"
