"""From checked models to domain types. Nothing can fail here; a key that was left out takes the type's own default."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from quell.config.actuator_schema import ActuatorsFile, build_actuators
from quell.config.config import Config, Connections, Detection, Grouping, Intervals, Tracker
from quell.config.notification_schema import NotificationsFile, build_notifying
from quell.config.playbook_schema import NotificationModel, PlaybookFile, ReleaseModel, StepModel
from quell.config.routing_schema import MaintenanceModel, OpenAfterModel, RoutingFile, WeeklyModel
from quell.config.schema import (
    CanaryModel,
    ConnectionsModel,
    PeopleFile,
    QuellFile,
    ReportLimitsModel,
    SignalModel,
    SignalsFile,
    SourceModel,
    SourcesFile,
)
from quell.config.service_schema import RepositoryModel, ServiceModel, ServicesFile
from quell.config.source import Source
from quell.incidents.decision import Person
from quell.incidents.event_source import EventSource, ReportLimits
from quell.incidents.maintenance import Maintenance, Weekly
from quell.incidents.service import BlueGreen, Catalog, ConfigRepository, Instance, Service
from quell.incidents.signal import DIRECTION_OF_KIND, Signal
from quell.incidents.slo import Slo
from quell.prevention.standing_limit import StandingPolicy
from quell.resolution.policy import THOROUGH, CanaryPolicy
from quell.response.autonomy import Autonomy
from quell.response.fix_approval import FixPolicy
from quell.response.playbook import (
    TELLABLE,
    ApprovalPolicy,
    FleetLimits,
    Limits,
    NotificationRule,
    Playbook,
    RecoveryRule,
    StepTemplate,
)
from quell.response.release import ReleaseRule
from quell.triage.rules import Flapping, Inhibition, OpenAfter, Rules

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def build_config(
    folder: Path,
    *,
    quell: QuellFile,
    services: ServicesFile,
    signals: SignalsFile,
    routing: RoutingFile,
    routing_source: Source,
    people: PeopleFile,
    sources: SourcesFile | None = None,
    playbooks: tuple[PlaybookFile, ...],
    notifications: NotificationsFile,
    actuators: ActuatorsFile,
    actuators_source: Source,
) -> Config:
    return Config(
        folder=folder,
        connections=_connections(quell.connections),
        intervals=Intervals(**_given(quell.intervals)),
        detection=Detection(**_given(quell.detection)),
        grouping=Grouping(**_given(routing.grouping)),
        maintenance=_windows(routing.maintenance, routing_source, "maintenance"),
        freezes=_windows(routing.freeze, routing_source, "freeze"),
        fleet_limits=FleetLimits(**_given(quell.response, without=("environment",))),
        environment=quell.response.environment,
        canary=_canary(quell.canary),
        fixes=FixPolicy(**_given(quell.fixes)),
        rules=_rules(routing, routing_source),
        catalog=Catalog(services={name: _service(name, body) for name, body in services.services.items()}),
        signals={name: _signal(name, body) for name, body in signals.signals.items()},
        playbooks={playbook.name: _playbook(playbook) for playbook in playbooks},
        people=_people(people),
        sources=None if sources is None else {n: _source(n, body) for n, body in sources.sources.items()},
        report_limits=ReportLimits() if sources is None else _report_limits(sources.reports),
        notifying=build_notifying(notifications),
        actuators=build_actuators(actuators, actuators_source),
        pages=quell.gateway.pages,
        tracker=None if quell.tracker is None else Tracker(**_given(quell.tracker)),
        standing=None if quell.standing_limits is None else StandingPolicy(**_given(quell.standing_limits)),
    )


def _given(model: BaseModel, *, without: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys that the user wrote, or that the file format has a default for."""
    pairs = ((name, getattr(model, name)) for name in only or type(model).model_fields if name not in without)
    return {
        name: tuple(cast(list[Any], value)) if isinstance(value, list) else value
        for name, value in pairs
        if value is not None
    }


def _canary(model: CanaryModel) -> CanaryPolicy:
    return replace(THOROUGH if model.policy == "thorough" else CanaryPolicy(), **_given(model, without=("policy",)))


def _connections(model: ConnectionsModel) -> Connections:
    return Connections(**_given(model))


def _service(name: str, model: ServiceModel) -> Service:
    return Service(
        **_given(model, without=("user_facing", "instances", "repository", "probe", "blue_green")),
        name=name,
        is_user_facing=model.user_facing,
        instances=tuple(
            Instance(name=i, service=name, **_given(model, only=("probe",)) | _given(body))
            for i, body in model.instances.items()
        ),
        repository=None if model.repository is None else _repository(model.repository),
        blue_green=None if model.blue_green is None else BlueGreen(**_given(model.blue_green)),
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


def _rules(routing: RoutingFile, source: Source) -> Rules:
    return Rules(
        open_after=tuple(
            _open_after(model, _where(source, "open_after", n)) for n, model in enumerate(routing.open_after)
        ),
        inhibit=tuple(
            Inhibition(
                name=model.name,
                source=model.source_matchers,
                target=model.target_matchers,
                equal=tuple(model.equal),
                where=_where(source, "inhibit", n),
            )
            for n, model in enumerate(routing.inhibit)
        ),
        flapping=Flapping(
            **_given(routing.flapping), where=_where(source, "flapping") if "flapping" in source.data else ""
        ),
    )


def _open_after(model: OpenAfterModel, where: str) -> OpenAfter:
    """Without `for`, an alert that waits for others opens an incident by itself when it has fired for `within`."""
    return OpenAfter(
        name=model.name,
        matchers=model.match,
        count=model.count,
        within=model.within,
        lasting=model.lasting or model.within,
        where=where,
    )


def _where(source: Source, *path: str | int) -> str:
    """File and line of a rule, as `quell why` names it."""
    return f"{Path(source.file).name}:{source.line(path)}"


def _windows(models: list[MaintenanceModel], source: Source, key: str) -> tuple[Maintenance, ...]:
    return tuple(_maintenance(model, _where(source, key, n)) for n, model in enumerate(models))


def _maintenance(model: MaintenanceModel, where: str) -> Maintenance:
    once = (model.start.astimezone(UTC), model.until.astimezone(UTC)) if model.start and model.until else None
    return Maintenance(
        name=model.name,
        matchers=model.match,
        once=once,
        weekly=None if model.weekly is None else _weekly(model.weekly),
        reason=model.reason,
        where=where,
    )


def _weekly(model: WeeklyModel) -> Weekly:
    days = tuple(sorted({_DAYS.index(day) for day in model.days}))
    return Weekly(days=days, start=model.start, end=model.until, zone=model.zone)


def _people(model: PeopleFile) -> Mapping[str, Person]:
    return {name: Person(name=name, **_given(body)) for name, body in model.people.items()}


def _source(name: str, model: SourceModel) -> EventSource:
    signing = {} if model.signing is None else _given(model.signing, without=("secret",))
    return EventSource(
        name=name,
        may_send=frozenset(model.may_send),
        tokens=tuple(model.tokens),
        signing_secret=model.signing.secret if model.signing else None,
        **signing,
    )


def _report_limits(model: ReportLimitsModel) -> ReportLimits:
    form = {} if model.form is None else {"is_form_open": model.form}
    return ReportLimits(**_given(model, without=("form",)), **form)


_BUILT_APART = ("match", "steps", "recovery", "approval", "limits", "autonomy", "release", "notification")


def _playbook(model: PlaybookFile) -> Playbook:
    return Playbook(
        **_given(model, without=_BUILT_APART),
        matchers=model.match,
        steps=tuple(_step(step) for step in model.steps),
        recovery=RecoveryRule(**_given(model.recovery)) if model.recovery else RecoveryRule(signal=""),
        approval=ApprovalPolicy(**_given(model.approval)),
        limits=Limits(**_given(model.limits)),
        autonomy=Autonomy(**_given(model.autonomy)),
        release=_release(model.release),
        notification=_notification(model.notification),
    )


def _notification(model: NotificationModel | None) -> NotificationRule:
    """Whoever is named without kinds hears of all."""
    return NotificationRule() if model is None else NotificationRule(**{"kinds": TELLABLE, **_given(model)})


def _release(model: ReleaseModel | None) -> ReleaseRule:
    if model is None:
        return ReleaseRule()
    return ReleaseRule(shares=tuple(model.shares), **_given(model, without=("shares",)))


def _step(model: StepModel) -> StepTemplate:
    return StepTemplate(**_given(model))
