"""The shape of services.yaml."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from quell.config.schema import Model, Text
from quell.config.value import GitRemote, HttpUrl, PositiveDuration, wrong

Texts = Annotated[list[Text], Field(default_factory=list)]
ProbePath = Annotated[str, Field(pattern=r"^/[^\s#]*$")]


class InstanceModel(Model):
    server: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")] | None = None
    url: HttpUrl | None = None
    probe: ProbePath | None = None
    zone: str | None = None
    weight: Annotated[int, Field(ge=0, le=256)] = 100


class RepositoryModel(Model):
    path: Text
    branch: Text = "main"
    remote: GitRemote = ""
    files: dict[str, Text]
    validate_command: list[Text] = Field(default=[], alias="validate")
    reload: Texts
    running: Texts
    one_by_one: bool = False
    guards: Text = "guards"
    also: Texts
    trial: Texts
    trial_timeout: PositiveDuration = timedelta(seconds=30)


class BlueGreenModel(Model):
    route: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")]
    backends: Annotated[list[Annotated[str, Field(pattern=r"^[^/\s:]+$")]], Field(min_length=2, max_length=2)]
    probes: Annotated[list[ProbePath], Field(default_factory=list)]
    keep_warm: PositiveDuration | None = None

    @model_validator(mode="after")
    def _has_two_colours(self) -> Self:
        if self.backends[0] == self.backends[1]:
            raise wrong(f'has backend "{self.backends[0]}" twice: name the two, of which one serves and one is idle')
        return self


class ServiceModel(Model):
    team: Text
    owner: str = ""
    description: str = ""
    depends_on: Annotated[list[str], Field(default_factory=list)]
    user_facing: bool = False
    probe: ProbePath | None = None
    instances: Annotated[dict[str, InstanceModel], Field(default_factory=dict)]
    repository: RepositoryModel | None = None
    links: Annotated[dict[str, str], Field(default_factory=dict)]
    runbook: str = ""
    aliases: Texts
    blue_green: BlueGreenModel | None = None


class ServicesFile(Model):
    """services.yaml"""

    services: Annotated[dict[Text, ServiceModel], Field(min_length=1)]
