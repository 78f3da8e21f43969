"""The example's shop with a load balancer and a users' signal that live in the test: for what planning decides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from quell.config.config import Config
from quell.config.load import load_config
from quell.incidents.errors import Unavailable
from quell.incidents.mitigation import Step
from quell.incidents.series import SeriesMatrix

EXAMPLE = Path(__file__).parents[1] / "deployments" / "config.example"


def shop_config() -> Config:
    """The example configuration without the secrets of a sandbox."""
    return replace(load_config(EXAMPLE), sources=None, people={})


class Levers:
    """All servers are up; isolated ones are remembered."""

    name = "haproxy"

    def __init__(self) -> None:
        self.isolated: set[str] = set()
        self.seen = ""

    def actions(self) -> Mapping[str, str]:
        return {"isolate": "Takes one server out."}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {"isolate": ()}

    def describe(self, step: Step) -> str:
        return f"drain {step.target}"

    def describe_undo(self, step: Step) -> str:
        return f"put {step.target} back"

    def read_state(self, step: Step) -> Mapping[str, str]:
        return {"admin_state": "drain" if step.target in self.isolated else "ready"}

    def apply(self, step: Step) -> None:
        self.isolated.add(step.target)

    def verify(self, step: Step) -> bool:
        return step.target in self.isolated

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        if state_before["admin_state"] == "ready":
            self.isolated.discard(step.target)

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        return self.read_state(step) == dict(state_before)

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
        return {target: float(target not in self.isolated) for target in service_targets}

    def witness(self, step: Step) -> str:
        return self.seen


class UsersSignal:
    """Every query has this value, at all times."""

    value = 0.0
    asked = 0
    is_away = False

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        self.asked += 1
        if self.is_away:
            raise Unavailable("the metrics are away")
        times = np.arange(start.timestamp(), end.timestamp() + 1e-6, step.total_seconds())
        return SeriesMatrix(timestamps=times, values=np.full((len(times), 1), self.value), labels=({"query": query},))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        moment = at.timestamp() if at else 0.0
        return SeriesMatrix(timestamps=np.array([moment]), values=np.array([[self.value]]), labels=({"query": query},))
