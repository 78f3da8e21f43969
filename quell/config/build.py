"""From checked models to domain types. Nothing can fail here; a key that was left out takes the type's own default."""

from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from quell.config.config import Config, Connections, Detection, Grouping, Intervals
from quell.config.schema import (
    ConnectionsModel,
    MaintenanceModel,
    PeopleFile,
    PlaybookFile,
    QuellFile,
    RepositoryModel,
    RoutingFile,
    ServiceModel,
    ServicesFile,
    SignalModel,
    SignalsFile,
    StepModel,
    WeeklyModel,
)
from quell.incidents.decision import Person
from quell.incidents.maintenance import Maintenance, Weekly
from quell.incidents.service import Catalog, ConfigRepository, Instance, Service
from quell.incidents.signal import DIRECTION_OF_KIND, Signal
from quell.incidents.slo import Slo
from quell.response.playbook import ApprovalPolicy, Limits, Playbook, RecoveryRule, StepTemplate

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def build_config(
    folder: Path,
    *,
    quell: QuellFile,
    services: ServicesFile,
    signals: SignalsFile,
    routing: RoutingFile,
    people: PeopleFile,
    playbooks: tuple[PlaybookFile, ...],
) -> Config:
    return Config(
        folder=folder,
        connections=_connections(quell.connections),
        intervals=Intervals(**_given(quell.intervals)),
        detection=Detection(**_given(quell.detection)),
        grouping=Grouping(**_given(routing.grouping)),
        maintenance=tuple(_maintenance(model) for model in routing.maintenance),
        catalog=Catalog(services={name: _service(name, body) for name, body in services.services.items()}),
        signals={name: _signal(name, body) for name, body in signals.signals.items()},
        playbooks={playbook.name: _playbook(playbook) for playbook in playbooks},
        people=_people(people),
        notify=tuple(quell.notify.urls),
        pages=quell.gateway.pages,
    )


def _given(model: BaseModel, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys that the user wrote, or that the file format has a default for."""
    pairs = ((name, getattr(model, name)) for name in type(model).model_fields if name not in without)
    return {
        name: tuple(cast(list[Any], value)) if isinstance(value, list) else value
        for name, value in pairs
        if value is not None
    }


def _connections(model: ConnectionsModel) -> Connections:
    return Connections(**_given(model))


def _service(name: str, model: ServiceModel) -> Service:
    return Service(
        **_given(model, without=("user_facing", "instances", "repository")),
        name=name,
        is_user_facing=model.user_facing,
        instances=tuple(Instance(name=i, service=name, **_given(body)) for i, body in model.instances.items()),
        repository=None if model.repository is None else _repository(model.repository),
    )


def _repository(model: RepositoryModel) -> ConfigRepository:
    return ConfigRepository(**_given(model, without=("validate_command",)), validate=tuple(model.validate_command))


def _signal(name: str, model: SignalModel) -> Signal:
    return Signal(
        **_given(model, without=("user_facing", "direction", "query", "slo")),
        name=name,
        query=model.query.strip(),
        direction=model.direction or DIRECTION_OF_KIND[model.kind],
        is_user_facing=model.user_facing,
        slo=None if model.slo is None else Slo(objective=model.slo.objective, period=model.slo.period),
    )


def _maintenance(model: MaintenanceModel) -> Maintenance:
    once = (model.start.astimezone(UTC), model.until.astimezone(UTC)) if model.start and model.until else None
    return Maintenance(
        name=model.name,
        matchers=model.match,
        once=once,
        weekly=None if model.weekly is None else _weekly(model.weekly),
        reason=model.reason,
    )


def _weekly(model: WeeklyModel) -> Weekly:
    days = tuple(sorted({_DAYS.index(day) for day in model.days}))
    return Weekly(days=days, start=model.start, end=model.until, zone=model.zone)


def _people(model: PeopleFile) -> Mapping[str, Person]:
    return {name: Person(name=name, **_given(body)) for name, body in model.people.items()}


def _playbook(model: PlaybookFile) -> Playbook:
    return Playbook(
        **_given(model, without=("match", "steps", "recovery", "approval", "limits")),
        matchers=model.match,
        steps=tuple(_step(step) for step in model.steps),
        recovery=RecoveryRule(**_given(model.recovery)),
        approval=ApprovalPolicy(**_given(model.approval)),
        limits=Limits(**_given(model.limits)),
    )


def _step(model: StepModel) -> StepTemplate:
    return StepTemplate(**_given(model))
