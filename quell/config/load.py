"""Read a configuration folder: every file, every problem, then the types; secrets only when they are needed."""

from dataclasses import replace
from pathlib import Path

from quell.config.actuator_schema import ActuatorsFile
from quell.config.build import build_config
from quell.config.check import Sources, check_sources
from quell.config.config import Config
from quell.config.notification_schema import NotificationsFile
from quell.config.parse import parse
from quell.config.playbook_schema import PlaybookFile
from quell.config.problem import ConfigError, Problem, did_you_mean
from quell.config.routing_schema import RoutingFile
from quell.config.schema import PeopleFile, QuellFile, SignalsFile, SourcesFile
from quell.config.service_schema import ServicesFile
from quell.config.source import Source, read_toml, read_yaml
from quell.config.value import is_reference, read_reference
from quell.incidents.errors import InvalidInput

REQUIRED = ("quell.toml", "services.yaml", "signals.yaml")
OPTIONAL = ("routing.yaml", "people.yaml", "sources.yaml", "notifications.yaml", "actuators.yaml")


def load_config(folder: Path) -> Config:
    """What the folder says, with connections that are given by reference (env:, file:) looked up.

    Relative paths in the files are relative to the working directory. Raises ConfigError with every problem at once.
    """
    config = read_config(folder)
    given = config.connections
    problems: list[Problem] = []

    def value(key: str, text: str) -> str:
        try:
            return read_reference(text) if is_reference(text) else text
        except InvalidInput as error:
            problems.append(read_toml(folder / "quell.toml").problem(("connections", key), str(error)))
            return text

    known = replace(
        given,
        store=value("store", given.store),
        prometheus=value("prometheus", given.prometheus),
        alertmanager=given.alertmanager and value("alertmanager", given.alertmanager),
    )
    if problems:
        raise ConfigError(problems)
    return replace(config, connections=known)


def read_config(folder: Path) -> Config:
    """What the folder says, references left as they are, so that a machine without the secrets can check it."""
    if not folder.is_dir():
        raise InvalidInput(
            f"configuration folder {folder} does not exist; copy deployments/config.example, or name yours with "
            "--config or QUELL_CONFIG"
        )
    files = _read_sources(folder)
    quell, wrong_quell = parse(files.quell, QuellFile)
    services, wrong_services = parse(files.services, ServicesFile)
    signals, wrong_signals = parse(files.signals, SignalsFile)
    routing, wrong_routing = parse(files.routing, RoutingFile)
    people, wrong_people = parse(files.people, PeopleFile)
    senders, wrong_senders = parse(files.senders, SourcesFile) if files.senders else (None, [])
    notifications, wrong_notifications = parse(files.notifications, NotificationsFile)
    actuators, wrong_actuators = parse(files.actuators, ActuatorsFile)
    playbooks = [parse(source, PlaybookFile) for source in files.playbooks]
    problems = [
        *wrong_quell, *wrong_services, *wrong_signals, *wrong_routing, *wrong_people, *wrong_senders,
        *wrong_notifications, *wrong_actuators,
        *(problem for _, wrong in playbooks for problem in wrong),
        *check_sources(files),
        *_stray_files(folder),
    ]  # fmt: skip
    if problems or not (quell and services and signals and routing and people and notifications and actuators):
        raise ConfigError(problems)
    return build_config(
        folder,
        quell=quell,
        services=services,
        signals=signals,
        routing=routing,
        routing_source=files.routing,
        people=people,
        sources=senders,
        playbooks=tuple(playbook for playbook, _ in playbooks if playbook is not None),
        notifications=notifications,
        actuators=actuators,
        actuators_source=files.actuators,
    )


def _read_sources(folder: Path) -> Sources:
    return Sources(
        quell=read_toml(folder / "quell.toml"),
        services=read_yaml(folder / "services.yaml"),
        signals=read_yaml(folder / "signals.yaml"),
        routing=_read_optional(folder / "routing.yaml", {}),
        people=_read_optional(folder / "people.yaml", {"people": {}}),
        notifications=_read_optional(folder / "notifications.yaml", {}),
        actuators=_read_optional(folder / "actuators.yaml", {}),
        senders=read_yaml(senders) if (senders := folder / "sources.yaml").exists() else None,
        playbooks=read_playbooks(folder),
    )


def read_playbooks(folder: Path) -> tuple[Source, ...]:
    return tuple(read_yaml(path) for path in sorted((folder / "playbooks").glob("*.yaml")))


def _read_optional(path: Path, empty: dict[str, object]) -> Source:
    return read_yaml(path) if path.exists() else Source(file=str(path), data=empty)


def _stray_files(folder: Path) -> list[Problem]:
    """A file that nothing reads is most often a misspelt name, which would otherwise be silence."""
    known = (*REQUIRED, *OPTIONAL)
    strays = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in (".yaml", ".yml", ".toml") and path.name not in known
    ]
    strays.extend(sorted((folder / "playbooks").glob("*.yml")))
    return [
        Problem(file=str(path), line=1, key="", text="nothing reads this file" + _hint(path, known)) for path in strays
    ]


def _hint(path: Path, known: tuple[str, ...]) -> str:
    return "; name it .yaml" if path.suffix == ".yml" else did_you_mean(path.name, known)
