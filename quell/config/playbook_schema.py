"""The shape of playbooks/NAME.yaml."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from quell.config.problem import not_defined
from quell.config.schema import Model, Share, Text
from quell.config.value import Duration, Matchers, Params, PositiveDuration, wrong
from quell.incidents.incident import Severity
from quell.incidents.notification import NotificationKind
from quell.response.autonomy import Level
from quell.response.playbook import TELLABLE

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _as_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise wrong(
            f"name is {text[:40]!r}; it must be 1 to 100 letters, digits and _.- and begin with one of the former"
        )
    return text


# It stands in addresses, in names of artifacts, and in commands that people copy.
Name = Annotated[str, AfterValidator(_as_name)]


def _as_told(kind: object) -> NotificationKind:
    if kind not in TELLABLE:
        raise wrong(not_defined("kind", str(kind), TELLABLE))
    return NotificationKind(str(kind))


Told = Annotated[NotificationKind, BeforeValidator(_as_told)]


class StepModel(Model):
    actuator: Text
    action: Text
    target: Text
    params: Params = Field(default={})
    timeout: PositiveDuration | None = None
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    backoff: PositiveDuration | None = None
    with_previous: bool | None = None


class RecoveryModel(Model):
    signal: Text
    below: float | None = None
    hold: Duration | None = None
    deadline: PositiveDuration | None = None
    preventive: bool | None = None


_Approvers = Annotated[int, Field(ge=1, le=9)]


class ApprovalModel(Model):
    always: bool | None = None
    above_capacity_share: Share | None = None
    roles: Annotated[list[Text], Field(min_length=1)] | None = None
    deadline: PositiveDuration | None = None
    approvers: _Approvers | None = None
    approvers_by_severity: dict[Severity, _Approvers] = Field(default={})
    escalate_after: PositiveDuration | None = None
    escalate_to: Annotated[list[Text], Field(min_length=1)] | None = None


class LimitsModel(Model):
    capacity_floor: Share | None = None
    cooldown: Duration | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    retry_budget: Duration | None = None
    most_refused: Share | None = None
    refused_window: PositiveDuration | None = None


class AutonomyModel(Model):
    level: Level | None = None
    environments: dict[Text, Level] = Field(default={})
    successes: Annotated[int, Field(ge=0, le=100)] | None = None


class ReleaseModel(Model):
    shares: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1, max_length=20)]
    hold: PositiveDuration | None = None

    @field_validator("shares")
    @classmethod
    def _rises(cls, shares: list[float]) -> list[float]:
        if sorted(set(shares)) != shares:
            raise wrong(f"{shares} does not rise: write each share once, the smallest first")
        return shares


class NotificationModel(Model):
    to: Annotated[list[Text], Field(min_length=1)] | None = None
    kinds: Annotated[list[Told], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.to is None and self.kinds is None:
            raise wrong("notification is empty: say whom it is told (to), what is told (kinds), or both")
        return self


class PlaybookFile(Model):
    """playbooks/NAME.yaml"""

    name: Name
    description: Text
    owner: Text
    match: Matchers
    target_kind: Literal["instance", "client", "service", "zone"]
    min_confidence: Share | None = None
    steps: list[StepModel]
    recovery: RecoveryModel | None = None
    approval: ApprovalModel = ApprovalModel()
    limits: LimitsModel = LimitsModel()
    autonomy: AutonomyModel = AutonomyModel()
    release: ReleaseModel | None = None
    notification: NotificationModel | None = None
    expires_after: PositiveDuration | None = None
    runbook: str = ""

    @model_validator(mode="after")
    def _is_judged(self) -> Self:
        if self.steps and self.recovery is None:
            raise wrong("recovery is required and missing: by which signal is it judged whether the steps helped?")
        if not self.steps and not self.runbook:
            raise wrong("a playbook without steps pages people: write a runbook, or what shall they do?")
        return self
