"""The recorded world: what Prometheus, HAProxy and Quell's door saw, as metric source, actuator and events."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from quell.adapters.metrics.files import COLUMN, FileSource, read_wide
from quell.gateway.inbox_items import take_alerts, take_change, take_report
from quell.incidents.errors import InvalidInput, NotFound, Unavailable
from quell.incidents.inbox import Received
from quell.incidents.mitigation import Step
from quell.incidents.series import SeriesMatrix
from quell.incidents.signal import Signal
from quell.ports import Clock
from quell.triage.intake import split_webhook

EVENTS, LEVERS = "events.json", "levers"
_PATIENCE = timedelta(seconds=60)  # so long after a decision the recording may show its effect
_DRAINED = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """When it was made, the moments at which its script acted, and what came in, in order of time."""

    folder: Path
    began: datetime
    ended: datetime
    moments: Mapping[str, datetime]
    came_in: tuple[tuple[datetime, str, Mapping[str, Any]], ...]

    @classmethod
    def load(cls, folder: Path) -> "Recording":
        """Raises NotFound where there is none."""
        file = folder / EVENTS
        if not file.exists():
            raise NotFound(f"{file} does not exist; make a recording with: python -m deployments.demo.record")
        body = json.loads(file.read_text())
        events = [(datetime.fromisoformat(e["at"]), e["path"], e["body"]) for e in body["came_in"]]
        return cls(
            folder=folder,
            began=datetime.fromisoformat(body["began"]),
            ended=datetime.fromisoformat(body["ended"]),
            moments={name: datetime.fromisoformat(at) for name, at in body["moments"].items()},
            came_in=tuple(sorted(events, key=lambda event: event[0])),
        )


def inbox_items(path: str, body: Mapping[str, Any], at: datetime) -> tuple[Received, ...]:
    """What the gateway would put into the inbox. Raises InvalidInput."""
    if path.endswith("/alerts/alertmanager"):
        return take_alerts(split_webhook(body), source="alertmanager", received_at=at).items
    take = {"changes": take_change, "reports": take_report}.get(path.rsplit("/", 1)[-1])
    if take is None:
        raise InvalidInput(f"the recording holds a request to {path}, which the gateway does not know")
    return (take(body, source="api", received_at=at),)


class RecordedMetrics:
    """A metric source over the recording: the query of a signal gives the series that Prometheus gave."""

    def __init__(self, folder: Path, signals: Mapping[str, Signal], clock: Clock) -> None:
        self._files = FileSource(folder)
        self._names = {signal.query: name for name, signal in signals.items()}
        self._clock = clock

    def range(self, query: str, *, start: datetime, end: datetime, step: timedelta) -> SeriesMatrix:
        return _present(self._files.range(self._name(query), start=start, end=end, step=step))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesMatrix:
        """At the replay's own time when no moment is given: the rest has not happened yet."""
        return _present(self._files.instant(self._name(query), at=at or self._clock()))

    def _name(self, query: str) -> str:
        if query not in self._names:
            raise InvalidInput(f"query {query!r} was not recorded; recorded are {', '.join(self._names.values())}")
        return self._names[query]


class RecordedHAProxy:
    """The recorded HAProxy as an actuator. It sends nothing: an effect is in force when the recording shows it.

    `wait_until` lets the replay's time pass; applying waits for the moment at which HAProxy did the same.
    """

    name = "haproxy"

    def __init__(self, folder: Path, clock: Clock, wait_until: Callable[[datetime], None]) -> None:
        matrix = read_wide(folder / f"{LEVERS}.parquet")
        self._times = matrix.timestamps
        self._values = {one[COLUMN]: matrix.values[:, column] for column, one in enumerate(matrix.labels)}
        self._clock = clock
        self._wait_until = wait_until

    def actions(self) -> Mapping[str, str]:
        return {"isolate": "Takes one server out, as recorded.", "throttle": "Limits one client, as recorded."}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {"isolate": (), "throttle": ("requests_per_second",)}

    def describe(self, step: Step) -> str:
        return f"replay, nothing is sent: the recorded HAProxy shows {step.action} of {step.target}"

    def describe_undo(self, step: Step) -> str:
        return f"replay, nothing is sent: the recorded HAProxy shows {step.target} as it was before"

    def read_state(self, step: Step) -> Mapping[str, str]:
        self._wanted(step)
        value = self._text(step.target, self._index(self._clock()))
        return {} if value is None else {"value": value}

    def apply(self, step: Step) -> None:
        self._wait_for(step, self._wanted(step))

    def verify(self, step: Step) -> bool:
        return self.read_state(step).get("value") == self._wanted(step)

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:
        self._wait_for(step, state_before.get("value"))

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:
        return dict(self.read_state(step)) == dict(state_before)

    def witness(self, step: Step) -> str:  # noqa: ARG002 - the actuators' signature
        return ""  # how often HAProxy admitted each client was not recorded

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:
        index = self._index(self._clock())
        return {target: float(self._column(target)[index]) for target in service_targets}

    def _wanted(self, step: Step) -> str:
        if step.action == "isolate":
            return _DRAINED
        if step.action == "throttle":
            return str(step.params["requests_per_second"])
        raise InvalidInput(f"{step.action} was not recorded; recorded are {', '.join(self.actions())}")

    def _wait_for(self, step: Step, value: str | None) -> None:
        first = self._index(self._clock())
        last = self._index(self._clock() + _PATIENCE)
        for index in range(first, last + 1):
            if self._text(step.target, index) == value:
                moment = datetime.fromtimestamp(float(self._times[index]), UTC)
                self._wait_until(max(moment, self._clock()))
                return
        limit = _PATIENCE.total_seconds()
        raise Unavailable(f"the recording does not show {step.target} at {value} within {limit:.0f} s; it was not done")

    def _index(self, at: datetime) -> int:
        return max(int(np.searchsorted(self._times, at.timestamp() + 1e-6, side="right")) - 1, 0)

    def _text(self, target: str, index: int) -> str | None:
        value = float(self._column(target)[index])
        return None if np.isnan(value) else f"{value:g}"

    def _column(self, target: str) -> Any:
        if target not in self._values:
            raise InvalidInput(f"the recording has no {target}; it has {', '.join(self._values)}")
        return self._values[target]


def _present(matrix: SeriesMatrix) -> SeriesMatrix:
    """The series that have a sample, as Prometheus returns them, under their own labels."""
    there = [bool(np.isfinite(column).any()) for column in matrix.values.T]
    labels = tuple(json.loads(one[COLUMN]) for one, is_there in zip(matrix.labels, there, strict=True) if is_there)
    return SeriesMatrix(timestamps=matrix.timestamps, values=matrix.values[:, there], labels=labels)
