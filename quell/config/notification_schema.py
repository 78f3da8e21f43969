"""The shape of notifications.yaml, and the types that come of it."""

import re
from datetime import UTC
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from quell.config.schema import Model, Text
from quell.config.value import Duration, Matchers, PositiveDuration, Reference, TimeOfDay, Zone, wrong
from quell.incidents.maintenance import Weekly
from quell.triage.notification_route import Notifying, PeopleMail, Receiver, ReporterMail, Route, Storm

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class QuietModel(Model):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)] | None = None
    start: TimeOfDay = Field(alias="from")
    until: TimeOfDay
    zone: Zone = UTC


class StormModel(Model):
    more_than: Annotated[int, Field(ge=1)] | None = None
    within: PositiveDuration | None = None


class ReceiverModel(Model):
    urls: Annotated[list[Reference], Field(min_length=1)]
    only_actionable: bool | None = None
    quiet_hours: QuietModel | None = None
    storm: StormModel = StormModel()
    timeout: PositiveDuration | None = None
    give_up_after: PositiveDuration | None = None


class RouteModel(Model):
    match: Matchers = ()
    receivers: Annotated[list[Text], Field(min_length=1)]
    goes_on: bool = Field(default=False, alias="continue")


class ReportersModel(Model):
    url: Reference
    contact_pattern: Text | None = None
    timeout: PositiveDuration | None = None
    give_up_after: PositiveDuration | None = None
    most_per_incident: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _has_a_pattern(self) -> Self:
        try:
            re.compile(self.contact_pattern or "")
        except re.error as error:
            raise wrong(f"contact_pattern is not a regular expression: {error}") from error
        return self


class PeopleModel(Model):
    url: Reference
    timeout: PositiveDuration | None = None
    give_up_after: PositiveDuration | None = None


class NotificationsFile(Model):
    """notifications.yaml"""

    wait: Duration | None = None
    receivers: Annotated[dict[Text, ReceiverModel], Field(default_factory=dict)]
    routes: Annotated[list[RouteModel], Field(default_factory=list)]
    links: Annotated[dict[Text, Text], Field(default_factory=dict)]
    reporters: ReportersModel | None = None
    people: PeopleModel | None = None


def build_notifying(file: NotificationsFile) -> Notifying:
    """What was checked, as domain types; a key that was left out takes the type's own default."""
    return Notifying(
        receivers={name: _receiver(name, model) for name, model in file.receivers.items()},
        routes=tuple(Route(receivers=tuple(r.receivers), matchers=r.match, goes_on=r.goes_on) for r in file.routes),
        links=file.links,
        reporters=None if file.reporters is None else ReporterMail(**_given(file.reporters)),
        people=None if file.people is None else PeopleMail(**_given(file.people)),
        **({} if file.wait is None else {"wait": file.wait}),
    )


def _receiver(name: str, model: ReceiverModel) -> Receiver:
    plain = _given(model, without=("urls", "quiet_hours", "storm"))
    quiet = None if model.quiet_hours is None else _weekly(model.quiet_hours)
    return Receiver(name=name, urls=tuple(model.urls), quiet_hours=quiet, storm=Storm(**_given(model.storm)), **plain)


def _weekly(model: QuietModel) -> Weekly:
    days = tuple(sorted({_DAYS.index(day) for day in model.days or _DAYS}))
    return Weekly(days=days, start=model.start, end=model.until, zone=model.zone)


def _given(model: Model, without: tuple[str, ...] = ()) -> dict[str, Any]:
    pairs = ((name, getattr(model, name)) for name in type(model).model_fields if name not in without)
    return {name: value for name, value in pairs if value is not None}
