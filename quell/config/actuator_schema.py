"""The shape of actuators.yaml: which actuators are on. What each of them needs is checked by the actuator itself."""

from typing import Annotated

from pydantic import ConfigDict, Field

from quell.config.config import ActuatorSettings
from quell.config.schema import Model, Text
from quell.config.source import Source

ActuatorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class ActuatorModel(Model):
    """Every other key belongs to the kind."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: Text | None = None


class ActuatorsFile(Model):
    """actuators.yaml"""

    actuators: dict[ActuatorName, ActuatorModel] = Field(default={})


def build_actuators(file: ActuatorsFile, source: Source) -> dict[str, ActuatorSettings]:
    """Where no kind is written, the name is the kind."""
    return {
        name: ActuatorSettings(name=name, kind=model.kind or name, settings=model.model_extra or {}, source=source)
        for name, model in file.actuators.items()
    }
