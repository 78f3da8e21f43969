"""The shape of each file, as pydantic checks it: unknown keys are errors, every value has a type and a limit.

The files with most to say have modules of their own: `routing_schema`, `playbook_schema`, `notification_schema`.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quell.config.config import PagesAccess
from quell.config.value import (
    DaskAddress,
    GitRemote,
    HttpUrl,
    PasswordHash,
    PositiveDuration,
    Reference,
    StoreUrl,
    TokenHash,
    wrong,
)
from quell.incidents.event_source import EventKind
from quell.incidents.signal import Direction, SignalKind
from quell.incidents.standing import can_be_named
from quell.response.fix_approval import Undoing

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConnectionsModel(Model):
    store: StoreUrl
    prometheus: HttpUrl
    prometheus_rules: Path | None = None
    prometheus_rules_branch: str = ""
    prometheus_rules_remote: GitRemote = ""
    alertmanager: HttpUrl | None = None
    haproxy_socket: Text | None = None
    haproxy_maps: Path | None = None
    haproxy_state: Path | None = None
    gateway_host: Text = "127.0.0.1"
    gateway_port: Annotated[int, Field(ge=1, le=65535)] = 8800
    public_url: HttpUrl | None = None
    prefect_ui: HttpUrl | None = None
    drill_ground: HttpUrl | None = None
    timeout: PositiveDuration | None = None

    @model_validator(mode="after")
    def _rules_have_a_branch(self) -> Self:
        if self.prometheus_rules_branch and self.prometheus_rules is None:
            raise wrong("has prometheus_rules_branch and no prometheus_rules: name the folder, with that branch")
        if self.prometheus_rules_remote and not self.prometheus_rules_branch:
            raise wrong("has prometheus_rules_remote and no prometheus_rules_branch: name the branch, as main")
        return self


class IntervalsModel(Model):
    sweep: PositiveDuration | None = None
    refresh_baselines: PositiveDuration | None = None
    reconcile: PositiveDuration | None = None
    drift: PositiveDuration | None = None
    responder_poll: PositiveDuration | None = None
    stale_after: PositiveDuration | None = None


class DetectionModel(Model):
    false_alarms_per_week: Annotated[float, Field(gt=0)] | None = None
    shard_size: Annotated[int, Field(ge=1)] | None = None
    minimum_samples: Annotated[int, Field(ge=2)] | None = None
    confirm_sweeps: Annotated[int, Field(ge=1)] | None = None
    dask_scheduler: DaskAddress | None = None


class GatewayModel(Model):
    pages: PagesAccess | None = None


class ResponseModel(Model):
    environment: str = ""
    most_active: Annotated[int, Field(ge=1)] | None = None
    per_hour: Annotated[int, Field(ge=1)] | None = None
    evidence_kinds: Annotated[int, Field(ge=1, le=5)] | None = None


class CanaryModel(Model):
    """What is not given is as the policy of that name has it (quell/resolution/policy.py)."""

    policy: Literal["quick", "thorough"] = "quick"
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=10)] | None = None
    warm_up: PositiveDuration | None = None
    window: PositiveDuration | None = None
    deadline: PositiveDuration | None = None
    minimum_requests: Annotated[int, Field(ge=1)] | None = None
    margin: Annotated[float, Field(gt=0, le=1)] | None = None
    slower_factor: Annotated[float, Field(gt=1, le=10)] | None = None
    p99_margin: Annotated[float, Field(gt=0, le=10)] | None = None
    latency_floor: PositiveDuration | None = None
    saturation_margin: Annotated[float, Field(gt=0, le=10)] | None = None
    saturation_floor: Annotated[float, Field(gt=0)] | None = None
    request_log: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")] | None = None
    saturation: Annotated[str, Field(pattern=r"\{instance\}")] | None = None

    @model_validator(mode="after")
    def _tail_needs_requests(self) -> Self:
        if (self.p99_margin is not None or self.policy == "thorough") and self.request_log is None:
            raise wrong("needs request_log: p99 is judged on single requests, and without them nothing is promoted")
        return self


class FixesModel(Model):
    undo: Undoing | None = None
    roles: Annotated[list[Text], Field(min_length=1)] | None = None
    deadline: PositiveDuration | None = None


class TrackerModel(Model):
    kind: Literal["github", "gitlab", "webhook"]
    url: HttpUrl
    project: str = ""
    projects: dict[Text, Text] = {}
    token: Reference = ""
    labels: list[Text] = []
    timeout: PositiveDuration | None = None

    @model_validator(mode="after")
    def _knows_its_project(self) -> Self:
        if self.kind != "webhook" and not self.project:
            raise wrong(f"has no project: say in which one of {self.kind} issues are made, as in shop/checkout")
        if self.kind != "webhook" and not self.token:
            raise wrong(f"has no token: {self.kind} takes issues only with one; write env:NAME or file:PATH")
        return self


class StandingModel(Model):
    signal: Text
    window: PositiveDuration | None = None
    block: PositiveDuration | None = None
    least_blocks: Annotated[int, Field(ge=2)] | None = None
    headroom: Annotated[float, Field(ge=2, le=20)] | None = None  # HAProxy's counter may read as much as two windows
    shadow: PositiveDuration | None = None
    unnamed: list[Text] = []
    promised: dict[Text, Annotated[float, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _clients_can_be_named(self) -> Self:
        for name in self.promised:
            if not can_be_named(name):
                raise wrong(
                    f"promises to {name!r}: a client's name is one word of 1 to 64 characters, in lower case as the "
                    "limiter compares it"
                )
        return self


class QuellFile(Model):
    """quell.toml"""

    connections: ConnectionsModel
    intervals: IntervalsModel = IntervalsModel()
    detection: DetectionModel = DetectionModel()
    response: ResponseModel = ResponseModel()
    canary: CanaryModel = CanaryModel()
    fixes: FixesModel = FixesModel()
    gateway: GatewayModel = GatewayModel()
    tracker: TrackerModel | None = None
    standing_limits: StandingModel | None = None


class SloModel(Model):
    objective: Annotated[float, Field(gt=0, lt=1)]
    period: PositiveDuration


class SignalModel(Model):
    query: Text
    kind: SignalKind
    unit: Text
    direction: Direction | None = None
    step: PositiveDuration
    service: str | None = None
    user_facing: bool = False
    min_effect: Annotated[float, Field(ge=0)] = 0.0
    history: PositiveDuration | None = None
    description: str = ""
    slo: SloModel | None = None


class SignalsFile(Model):
    """signals.yaml"""

    signals: Annotated[dict[Text, SignalModel], Field(min_length=1)]


class PersonModel(Model):
    full_name: Text
    team: Text
    roles: list[Text] = []
    totp_secret: Reference = ""
    password_hash: PasswordHash = ""
    email: str = ""


class PeopleFile(Model):
    """people.yaml"""

    people: dict[Text, PersonModel]


class SigningModel(Model):
    secret: Reference
    tolerance: PositiveDuration | None = None


class SourceModel(Model):
    may_send: Annotated[list[EventKind], Field(min_length=1)]
    tokens: list[TokenHash] = []
    signing: SigningModel | None = None

    @model_validator(mode="after")
    def _proves_itself(self) -> Self:
        if not self.tokens and self.signing is None:
            raise wrong(
                "has neither tokens nor signing, so nobody could send as this source: `quell source new` makes one"
            )
        return self


class ReportLimitsModel(Model):
    form: bool | None = None
    per_address: Annotated[int, Field(ge=1)] | None = None
    overall: Annotated[int, Field(ge=1)] | None = None


class SourcesFile(Model):
    """sources.yaml"""

    sources: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")], SourceModel]
    reports: ReportLimitsModel = ReportLimitsModel()
