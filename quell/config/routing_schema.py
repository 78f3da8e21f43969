"""The shape of routing.yaml."""

from datetime import UTC, timedelta
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from quell.config.schema import Model, Text
from quell.config.value import Duration, Matchers, PositiveDuration, TimeOfDay, Zone, wrong


class GroupingModel(Model):
    window: PositiveDuration | None = None
    reopen: Duration | None = None
    change_window: PositiveDuration | None = None
    after_change: PositiveDuration | None = None
    quiet: PositiveDuration | None = None


class OpenAfterModel(Model):
    name: Text
    match: Matchers
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    within: PositiveDuration = timedelta(minutes=5)
    lasting: PositiveDuration | None = Field(default=None, alias="for")

    @model_validator(mode="after")
    def _delays(self) -> Self:
        if self.count == 1 and self.lasting is None:
            raise wrong("needs count above 1, or for: otherwise every alert opens an incident at once, as without it")
        return self


class InhibitModel(Model):
    name: Text
    source_matchers: Matchers
    target_matchers: Matchers
    equal: list[Text] = Field(default=[])

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not self.source_matchers or not self.target_matchers:
            raise wrong("source_matchers and target_matchers must select something: empty ones select every alert")
        return self


class FlappingModel(Model):
    changes: Annotated[int, Field(ge=2, le=1000)] | None = None
    within: PositiveDuration | None = None


class WeeklyModel(Model):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)]
    start: TimeOfDay = Field(alias="from")
    until: TimeOfDay
    zone: Zone = UTC


class MaintenanceModel(Model):
    name: Text
    match: Matchers
    start: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = None
    weekly: WeeklyModel | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        if not self.match:
            raise wrong('match is empty, which would hold everywhere: write {service=~".+"} where that is meant')
        if (self.weekly is None) == (self.start is None) or (self.start is None) != (self.until is None):
            raise wrong("needs either from and until, or weekly")
        if self.start is not None and self.until is not None and self.until <= self.start:
            raise wrong(f"until {self.until.isoformat()} must come after from {self.start.isoformat()}")
        return self


class RoutingFile(Model):
    """routing.yaml"""

    grouping: GroupingModel = GroupingModel()
    open_after: list[OpenAfterModel] = Field(default=[])
    inhibit: list[InhibitModel] = Field(default=[])
    flapping: FlappingModel = FlappingModel()
    maintenance: list[MaintenanceModel] = Field(default=[])
    freeze: list[MaintenanceModel] = Field(default=[])
