"""Checks over several files: every name that is used is defined, once, and limits make sense together.

They run on the files as read, not on parsed types, so that one `quell check` tells everything at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from quell.config.approval_check import check_approval, check_fixes
from quell.config.notification_check import check_notifications
from quell.config.problem import KeyPath, Problem, not_defined
from quell.config.rollout_check import check_one_by_one
from quell.config.source import Source
from quell.config.standing_check import check_standing
from quell.config.value import UNITS, parse_duration
from quell.incidents.errors import InvalidInput
from quell.incidents.signal import SignalKind

Actions = Mapping[str, tuple[str, ...]]  # action -> the parameters that it needs
# What HAProxy can do. A test holds this equal to the adapter's words. The actuators of actuators.yaml say it themselves
# when they are opened, and then `check_actions` looks at the playbooks once more.
ACTUATORS: Mapping[str, Actions] = {
    "haproxy": {
        "isolate": (),
        "maint": (),
        "weight": ("weight",),
        "throttle": ("requests_per_second",),
        "throttle_all": ("requests_per_second",),
        "shed": ("per_mille",),
        "switch": ("backend",),
        "split": ("backend", "per_mille"),
        "adaptive": ("backend", "latency_ms", "floor_rps"),
    },
    "configuration": {"restore": ("commit",)},
}
PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {  # what a step's text may name, by the playbook's target_kind
    "instance": ("target", "service", "instance", "server"),
    "client": ("target", "service", "client"),
    "service": ("target", "service"),
    "zone": ("target", "service", "zone", "instance", "server"),
}
COMMAND_PLACEHOLDERS = ("file", "instance")
TRIAL_PLACEHOLDERS = (*COMMAND_PLACEHOLDERS, "tree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All files of a folder, as read."""

    quell: Source
    services: Source
    signals: Source
    routing: Source
    people: Source
    notifications: Source
    actuators: Source
    senders: Source | None
    playbooks: tuple[Source, ...]


def check_sources(files: Sources) -> list[Problem]:
    """Everything that is wrong between the files, and what one file says against itself."""
    return [
        *_check_services(files.services),
        *_check_signals(files.signals, files.services),
        *check_notifications(files.notifications, files.services),
        *_check_duplicate_playbooks(files.playbooks),
        *_check_people(files.people, files.quell),
        *check_standing(files.quell, files.signals),
        *check_fixes(files.quell, files.people),
        *_check_actuators(files.actuators),
        *(problem for playbook in files.playbooks for problem in _check_playbook(playbook, files)),
    ]


def at(data: object, *path: str) -> dict[str, Any]:
    """The mapping at a path; empty where there is none or it is something else (the parser says so)."""
    for key in path:
        data = cast(dict[object, object], data).get(key) if isinstance(data, dict) else None
    return {str(key): value for key, value in cast(dict[object, Any], data).items()} if isinstance(data, dict) else {}


def names(source: Source, section: str) -> list[str]:
    return list(at(source.data, section))


def items(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    return [item for item in items(value) if isinstance(item, str)]


def _check_services(source: Source) -> Iterator[Problem]:
    known = names(source, "services")
    owners: dict[str, str] = {}
    servers: dict[str, str] = {}
    for name in known:
        path: KeyPath = ("services", name)
        for index, other in enumerate(items(at(source.data, *map(str, path)).get("depends_on"))):
            if other == name:
                yield source.problem((*path, "depends_on", index), f'service "{name}" depends on itself')
            elif other not in known:
                yield source.problem((*path, "depends_on", index), not_defined("service", str(other), known))
        for instance, body in at(source.data, *map(str, path), "instances").items():
            here: KeyPath = (*path, "instances", instance)
            if instance in owners:
                yield source.problem(here, f'instance "{instance}" is already defined by service "{owners[instance]}"')
            owners.setdefault(instance, name)
            server = at(body).get("server")
            if isinstance(server, str) and server in servers:
                text = f'server "{server}" already belongs to instance "{servers[server]}"'
                yield source.problem((*here, "server"), text)
            elif isinstance(server, str):
                servers[server] = instance
        yield from _check_repository(source, name)
        yield from _check_colours(source, name)
        yield from check_one_by_one(source, name, at(source.data, *map(str, path)))


def _check_colours(source: Source, service: str) -> Iterator[Problem]:
    """Every instance is of one colour and can be asked by itself, and each colour has one."""
    path = ("services", service, "blue_green")
    backends = texts(at(source.data, *path).get("backends"))
    if len(set(backends)) != 2:
        return
    found: set[str] = set()
    for instance, body in at(source.data, "services", service, "instances").items():
        here, server = ("services", service, "instances", instance), str(at(body).get("server") or "none")
        found.add(backend := server.partition("/")[0])
        if backend not in backends:
            text = (
                f'instance "{instance}" has server {server}, which is in neither {" nor ".join(backends)} of blue_green'
            )
            yield source.problem(here, text)
        if not at(body).get("url"):
            text = f'instance "{instance}" has no url: a colour is asked by itself before users see it'
            yield source.problem(here, text)
    for index, backend in enumerate(backends):
        if backend not in found:
            yield source.problem((*path, "backends", index), f'no instance of "{service}" has a server in {backend}')


def _check_repository(source: Source, service: str) -> Iterator[Problem]:
    path = ("services", service, "repository")
    known = [service, *at(source.data, "services", service, "instances")]
    for name in at(source.data, *path, "files"):
        if name not in known:
            yield source.problem((*path, "files", name), not_defined("instance", name, known))
    for key in ("validate", "reload", "running"):
        for index, word in enumerate(items(at(source.data, *path).get(key))):
            yield from _check_placeholders(source, (*path, key, index), word, COMMAND_PLACEHOLDERS)
    trial = items(at(source.data, *path).get("trial"))
    for index, word in enumerate(trial):
        yield from _check_placeholders(source, (*path, "trial", index), word, TRIAL_PLACEHOLDERS)
    if trial and trial in (items(at(source.data, *path).get(key)) for key in ("reload", "running")):
        text = "trial is the command that puts a change into force: a trial must not touch what users reach"
        yield source.problem((*path, "trial"), text)


def _check_signals(source: Source, services_file: Source) -> Iterator[Problem]:
    services = names(services_file, "services")
    for name, raw in at(source.data, "signals").items():
        body, path = at(raw), ("signals", name)
        service = body.get("service")
        if isinstance(service, str) and service not in services and services_file.is_read:
            yield source.problem((*path, "service"), not_defined("service", service, services))
        kind, unit = body.get("kind"), body.get("unit")
        if kind in list(SignalKind) and isinstance(unit, str) and unit not in UNITS[SignalKind(kind)]:
            yield source.problem((*path, "unit"), not_defined(f"unit of kind {kind}", unit, UNITS[SignalKind(kind)]))
        if "slo" in body and kind != SignalKind.ERROR_RATIO:
            yield source.problem((*path, "slo"), f"slo needs a signal of kind error_ratio (is {kind})")


def _check_people(people: Source, quell: Source) -> Iterator[Problem]:
    """Where only who has signed in may read, somebody must be able to."""
    can_sign_in = any(at(person).get("password_hash") for person in at(people.data, "people").values())
    if people.is_read and not can_sign_in and at(quell.data, "gateway").get("pages") == "signed-in":
        text = "pages is signed-in, but nobody in people.yaml has a password_hash: make one with `quell people hash`"
        yield quell.problem(("gateway", "pages"), text)


def _check_actuators(source: Source) -> Iterator[Problem]:
    for name, body in at(source.data, "actuators").items():
        if "haproxy" in (name, at(body).get("kind")):
            text = "haproxy is configured in quell.toml, by connections.haproxy_socket: take it out here"
            yield source.problem(("actuators", name), text)


def _check_duplicate_playbooks(playbooks: Iterable[Source]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for source in playbooks:
        name = source.data.get("name")
        if isinstance(name, str) and name in first:
            yield source.problem(("name",), f'playbook "{name}" is already defined in {first[name]}')
        elif isinstance(name, str):
            first[name] = source.file


def _check_playbook(source: Source, files: Sources) -> Iterator[Problem]:
    kind = str(source.data.get("target_kind"))
    for index, raw in enumerate(items(source.data.get("steps"))):
        yield from _check_step(source, ("steps", index), at(raw), kind, files)
    yield from _check_recovery(source, files.signals)
    if files.people.is_read:
        yield from check_approval(source, files.people, files.notifications)


def _check_step(
    source: Source, path: KeyPath, step: Mapping[str, Any], target_kind: str, files: Sources
) -> Iterator[Problem]:
    actuator, plugged = step.get("actuator"), names(files.actuators, "actuators")
    if isinstance(actuator, str) and actuator in ACTUATORS:
        yield from _check_action(source, path, step, actuator, ACTUATORS[actuator])
    elif isinstance(actuator, str) and actuator not in plugged and files.actuators.is_read:
        yield source.problem((*path, "actuator"), not_defined("actuator", actuator, (*ACTUATORS, *plugged)))
    has_socket = bool(at(files.quell.data, "connections").get("haproxy_socket"))
    if actuator == "haproxy" and files.quell.is_read and not has_socket:
        text = "actuator haproxy needs connections.haproxy_socket in quell.toml"
        yield source.problem((*path, "actuator"), text)
    has_repository = any(at(service).get("repository") for service in at(files.services.data, "services").values())
    if actuator == "configuration" and actuator not in plugged and files.services.is_read and not has_repository:
        text = "actuator configuration needs a repository of a service in services.yaml"
        yield source.problem((*path, "actuator"), text)
    if target_kind in PLACEHOLDERS:
        yield from _check_placeholders(source, (*path, "target"), step.get("target"), PLACEHOLDERS[target_kind])
        for name, value in at(step.get("params")).items():
            yield from _check_placeholders(source, (*path, "params", name), value, PLACEHOLDERS[target_kind])


def check_actions(playbooks: Iterable[Source], actuators: Mapping[str, Actions]) -> Iterator[Problem]:
    """Every step of these actuators names an action that they have, and gives the parameters that it needs."""
    for source in playbooks:
        for index, raw in enumerate(items(source.data.get("steps"))):
            step = at(raw)
            actuator = step.get("actuator")
            if isinstance(actuator, str) and actuator in actuators:
                yield from _check_action(source, ("steps", index), step, actuator, actuators[actuator])


def _check_action(
    source: Source, path: KeyPath, step: Mapping[str, Any], actuator: str, actions: Actions
) -> Iterator[Problem]:
    action = step.get("action")
    if isinstance(action, str) and action not in actions:
        yield source.problem((*path, "action"), not_defined(f"action of actuator {actuator}", action, actions))
    elif isinstance(action, str):
        yield from _check_params(source, path, step, action, actions[action])


def _check_params(
    source: Source, path: KeyPath, step: Mapping[str, Any], action: str, needed: tuple[str, ...]
) -> Iterator[Problem]:
    given = at(step.get("params"))
    for name in given:
        if name not in needed:
            yield source.problem((*path, "params", name), not_defined(f"parameter of {action}", name, needed))
    for name in needed:
        if name not in given:
            yield source.problem((*path, "params"), f"action {action} needs the parameter {name}")


def _check_placeholders(source: Source, path: KeyPath, text: object, known: Iterable[str]) -> Iterator[Problem]:
    for name in re.findall(r"\{([^{}]*)\}", text) if isinstance(text, str) else ():
        if name not in known:
            yield source.problem(path, not_defined("placeholder", name, known))


def _check_recovery(source: Source, signals_file: Source) -> Iterator[Problem]:
    recovery, signals = at(source.data, "recovery"), at(signals_file.data, "signals")
    name = recovery.get("signal")
    if not signals_file.is_read:
        pass
    elif isinstance(name, str) and name not in signals:
        yield source.problem(("recovery", "signal"), not_defined("signal", name, signals))
    elif isinstance(name, str) and not at(signals[name]).get("user_facing"):
        # isolating an instance silences its own signals: they would always look recovered
        text = f'signal "{name}" is not user_facing; recovery is judged by what users see'
        yield source.problem(("recovery", "signal"), text)
    try:
        hold, deadline = (parse_duration(str(recovery[key])) for key in ("hold", "deadline"))
    except (KeyError, InvalidInput):
        return
    if hold >= deadline:
        text = f"hold {recovery['hold']} must be shorter than deadline {recovery['deadline']}"
        yield source.problem(("recovery", "hold"), text)
