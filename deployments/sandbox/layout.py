"""What the shop consists of: instances, ports and folders, all derived from one folder and one base port."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.sandbox.ports import is_free, reserve
from quell.incidents.errors import InvalidInput, NotFound

DEFAULT_BASE_PORT = 7400
REPLICAS: Mapping[str, int] = {"storefront": 2, "checkout": 3, "payment": 2, "catalog": 1}
_FIRST_PORT: Mapping[str, int] = {"storefront": 11, "checkout": 21, "payment": 31, "catalog": 41}
_OTHER_PORTS: Mapping[str, int] = {
    "fe_shop": 0,
    "fe_checkout": 1,
    "fe_payment": 2,
    "fe_catalog": 3,
    "haproxy-metrics": 5,
    "control": 9,
    "prometheus": 50,
    "alertmanager": 51,
}
_GATEWAY_OFFSET = 60
_LAST_OFFSET = 99
_LONGEST_FOLDER = 70  # a unix socket's path may have 107 bytes; HAProxy and ours add up to 37


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    name: str
    service: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Every port and path of one sandbox. `gateway_url` is where alerts and change events go."""

    folder: Path
    base_port: int = DEFAULT_BASE_PORT
    gateway_url: str = field(default="")

    def __post_init__(self) -> None:
        if not 1024 <= self.base_port <= 65535 - _LAST_OFFSET:
            raise InvalidInput(f"base port {self.base_port} must be between 1024 and {65535 - _LAST_OFFSET}")
        if len(str(self.folder)) > _LONGEST_FOLDER:
            raise InvalidInput(
                f"sandbox folder {self.folder} has {len(str(self.folder))} characters, limit {_LONGEST_FOLDER} "
                "(unix sockets live in it); choose a shorter one"
            )
        if not self.gateway_url:
            object.__setattr__(self, "gateway_url", f"http://127.0.0.1:{self.base_port + _GATEWAY_OFFSET}")

    @property
    def instances(self) -> tuple[Instance, ...]:
        return tuple(
            Instance(name=f"{service}-{n}", service=service, port=self.base_port + _FIRST_PORT[service] + n - 1)
            for service, count in REPLICAS.items()
            for n in range(1, count + 1)
        )

    def instance(self, name: str) -> Instance:
        for instance in self.instances:
            if instance.name == name:
                return instance
        raise NotFound(f"instance {name!r} does not exist; there are {', '.join(i.name for i in self.instances)}")

    def of_service(self, service: str) -> tuple[Instance, ...]:
        found = tuple(i for i in self.instances if i.service == service)
        if not found:
            raise NotFound(f"service {service!r} does not exist; there are {', '.join(REPLICAS)}")
        return found

    def port(self, name: str) -> int:
        """The port of a frontend, a tool (`control`, `prometheus`, ...) or an instance."""
        if name in _OTHER_PORTS:
            return self.base_port + _OTHER_PORTS[name]
        return self.instance(name).port

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    def ports(self) -> Iterator[tuple[str, int]]:
        """Everything that listens, with its port."""
        for name in _OTHER_PORTS:
            yield name, self.port(name)
        for instance in self.instances:
            yield instance.name, instance.port

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def repository(self) -> Path:
        return self.folder / "shop-config"

    @property
    def haproxy(self) -> Path:
        return self.folder / "haproxy"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def settings_file(self, instance: str) -> Path:
        return self.repository / "services" / f"{instance}.yaml"

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        body = {"base_port": self.base_port, "gateway_url": self.gateway_url}
        _marker(self.folder).write_text(json.dumps(body) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Layout":
        """The layout that an earlier `up` left in the folder. Raises NotFound."""
        folder = folder.resolve()
        try:
            body = json.loads(_marker(folder).read_text())
        except FileNotFoundError:
            raise NotFound(f"folder {folder} holds no sandbox; start one with: up --dir {folder}") from None
        return cls(folder=folder, base_port=int(body["base_port"]), gateway_url=str(body["gateway_url"]))


def _marker(folder: Path) -> Path:
    return folder / "sandbox.json"


def is_sandbox(folder: Path) -> bool:
    return _marker(folder).is_file()


def find_base_port() -> int:
    """A base port whose whole family (base .. base+99) is free now; below Linux's range of ephemeral ports."""
    candidates = list(range(12000, 32000, 100))
    random.shuffle(candidates)
    for base in candidates:
        if reserve(base) and all(is_free(base + offset) for offset in range(_LAST_OFFSET + 1)):
            return base
    raise NotFound("no family of 100 free ports between 12000 and 32000; stop something or give --base-port")
