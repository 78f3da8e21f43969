"""Actuators as plugins: whatever registers an entry point in the group `quell.actuators`, ours in the same way.

An entry point is a factory: it takes the actuator's name, its settings and the configuration, and returns an
Actuator without contacting anything. `docs/actuators.md` tells how to write one.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from quell.actuator import Actuator
from quell.config.check import check_actions
from quell.config.config import ActuatorSettings, Config
from quell.config.load import read_playbooks
from quell.config.parse import problems_of
from quell.config.problem import ConfigError, KeyPath, Problem, not_defined
from quell.config.source import Source
from quell.incidents.errors import InvalidInput, QuellError

GROUP = "quell.actuators"
HAPROXY = "haproxy"
CONFIGURATION, GIT = "configuration", "git"
Factory = Callable[[str, Mapping[str, Any], Config], Actuator]
M = TypeVar("M", bound=BaseModel)


class InvalidSettings(InvalidInput):
    """The settings of an actuator do not fit its model; they are told with file, line and key."""

    def __init__(self, model: type[BaseModel], error: ValidationError) -> None:
        # never pydantic's own text: it repeats the value, which may be a secret in the wrong place
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
        super().__init__(said)
        self.model = model
        self.error = error


def read_settings(model: type[M], settings: Mapping[str, Any]) -> M:
    """The settings as the plugin's own pydantic model. Raises InvalidSettings."""
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        raise InvalidSettings(model, error) from error


def open_actuators(config: Config) -> Mapping[str, Actuator]:
    """Every actuator that the configuration names, by name; nothing is contacted.

    Raises ConfigError with every problem: a kind that nobody registers, a plugin that cannot be loaded, settings that
    do not fit, a playbook that asks for an action or a parameter that the actuator does not have.
    """
    found: dict[str, Actuator] = {}
    problems: list[Problem] = []
    for one in _named(config):
        made = _open(one, config)
        if isinstance(made, list):
            problems += made
        else:
            found[one.name] = made
    plugged = {name: found[name].parameters() for name in config.actuators if name in found}
    if plugged:
        problems += check_actions(read_playbooks(config.folder), plugged)
    if problems:
        raise ConfigError(problems)
    return found


def _named(config: Config) -> list[ActuatorSettings]:
    """HAProxy where its socket is known, configuration in git where a service has some, and those of actuators.yaml."""
    known: dict[str, ActuatorSettings] = {}
    if config.connections.haproxy_socket:
        source = Source(file=str(config.folder / "quell.toml"))
        known[HAPROXY] = ActuatorSettings(name=HAPROXY, kind=HAPROXY, source=source)
    if any(service.repository for service in config.catalog.services.values()):
        source = Source(file=str(config.folder / "services.yaml"))
        known[CONFIGURATION] = ActuatorSettings(name=CONFIGURATION, kind=GIT, source=source)
    return [*(known | dict(config.actuators)).values()]


def _open(one: ActuatorSettings, config: Config) -> Actuator | list[Problem]:
    """The actuator, or what is wrong; a plugin is the code of others and may raise anything."""
    path: KeyPath = ("actuators", one.name)
    registered = list(entry_points(group=GROUP, name=one.kind))
    if len(registered) != 1:
        return [one.source.problem((*path, "kind"), _not_one(one.kind, registered))]
    try:
        factory = cast(Factory, registered[0].load())
        return factory(one.name, one.settings, config)
    except InvalidSettings as error:
        return problems_of(error.error, one.source, error.model, path)
    except QuellError as error:
        return [one.source.problem(path, str(error))]
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must learn which plugin it was
        text = f"plugin {_who(registered[0])} cannot be loaded: {type(error).__name__}: {error}; repair or uninstall it"
        return [one.source.problem((*path, "kind"), text)]


def _not_one(kind: str, registered: Iterable[EntryPoint]) -> str:
    several = ", ".join(_who(each) for each in registered)
    if several:
        return f'kind "{kind}" is registered more than once, by {several}: uninstall all but one'
    known = entry_points(group=GROUP).names
    if HAPROXY not in known:
        return "no actuators are registered: Quell's installation is older than its code, run `make setup`"
    return not_defined("kind", kind, known) + "; is the package that brings it installed beside Quell?"


def _who(entry: EntryPoint) -> str:
    package = f", from {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f'"{entry.name}" ({entry.value}{package})'
