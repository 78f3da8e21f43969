"""The shape of playbooks/NAME.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from quell.config.schema import Model, Share, Text
from quell.config.value import Duration, Matchers, Params, PositiveDuration
from quell.response.autonomy import Level


class StepModel(Model):
    actuator: Text
    action: Text
    target: Text
    params: Params = Field(default={})
    timeout: PositiveDuration | None = None
    retries: Annotated[int, Field(ge=0, le=10)] | None = None


class RecoveryModel(Model):
    signal: Text
    below: float | None = None
    hold: Duration | None = None
    deadline: PositiveDuration | None = None
    preventive: bool | None = None


class ApprovalModel(Model):
    always: bool | None = None
    above_capacity_share: Share | None = None
    roles: Annotated[list[Text], Field(min_length=1)] | None = None
    deadline: PositiveDuration | None = None


class LimitsModel(Model):
    capacity_floor: Share | None = None
    cooldown: Duration | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    most_refused: Share | None = None
    refused_window: PositiveDuration | None = None


class AutonomyModel(Model):
    level: Level | None = None
    environments: dict[Text, Level] = Field(default={})
    successes: Annotated[int, Field(ge=0, le=100)] | None = None


class PlaybookFile(Model):
    """playbooks/NAME.yaml"""

    name: Text
    description: Text
    owner: Text
    match: Matchers
    target_kind: Literal["instance", "client", "service"]
    min_confidence: Share | None = None
    steps: Annotated[list[StepModel], Field(min_length=1)]
    recovery: RecoveryModel
    approval: ApprovalModel = ApprovalModel()
    limits: LimitsModel = LimitsModel()
    autonomy: AutonomyModel = AutonomyModel()
    expires_after: PositiveDuration | None = None
    runbook: str = ""
