"""Alertmanager as the lever: what is contained on purpose need not page anybody while it is.

A silence is found again by the step's key at the end of its comment, so the same step never makes two.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from quell.adapters.actuators.allowed_action import tightest
from quell.adapters.actuators.plugins import read_settings
from quell.adapters.alertmanager import Alertmanager, RemoteSilence
from quell.config.config import Config
from quell.config.problem import did_you_mean
from quell.config.schema import Model
from quell.config.value import HttpUrl, PositiveDuration, is_reference, parse_duration, read_reference
from quell.incidents.errors import InvalidInput
from quell.incidents.matcher import Matcher, MatchOperator, make_matcher
from quell.incidents.mitigation import Step, idempotency_key
from quell.incidents.service import Catalog

SILENCE = "silence"
CREATED_BY = "quell"
_MARK = "[quell step {}]"
_EARLIER = timedelta(minutes=1)  # a start in the past begins at once, however our clocks differ


class SilenceSettings(Model):
    """`url` is connections.alertmanager where it is left out; `label` is the one that holds the target's name."""

    url: HttpUrl | None = None
    label: Literal["instance", "service"] = "instance"
    longest: PositiveDuration = timedelta(hours=24)
    timeout: PositiveDuration = timedelta(seconds=5)


class SilenceActuator:
    """The Alertmanager at `url` (or what the reference in it holds), and the targets that the catalog knows."""

    def __init__(self, name: str, settings: SilenceSettings, *, url: str, catalog: Catalog) -> None:
        self.name = name
        self._settings = settings
        self._url = url
        self._targets = catalog.instances if settings.label == "instance" else catalog.services

    def actions(self) -> Mapping[str, str]:
        label = self._settings.label
        return {SILENCE: f"Silences the alerts whose {label} is the target in Alertmanager, for params duration."}

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        return {SILENCE: ("duration",)}

    def describe(self, step: Step) -> str:
        return f"silence {self._matcher(step)} in Alertmanager for {step.params['duration']}"

    def describe_undo(self, step: Step) -> str:
        return f"expire the silence of {self._matcher(step)} that this step made"

    def read_state(self, step: Step) -> Mapping[str, str]:
        """The silences on exactly this target that are in force or to come, by id; people may have made some."""
        wanted = (self._matcher(step),)
        ids = [s.id for s in self._there(step).silences() if not s.is_expired and s.matchers == wanted]
        return {"silences": ",".join(sorted(ids))}

    def apply(self, step: Step) -> None:
        """Once: a second call finds the silence. Two at the same moment leave the one that is first by its id."""
        there, matcher = self._there(step), self._matcher(step)
        if not self._ours(there, step):
            now = datetime.now(UTC)
            there.put_silence(
                RemoteSilence(
                    id="",
                    matchers=(matcher,),
                    starts_at=now - _EARLIER,
                    ends_at=now + self._duration(step),
                    created_by=CREATED_BY,
                    comment=f"contained by Quell {_mark(step)}",
                )
            )
        for double in self._ours(there, step)[1:]:
            there.expire_silence(double.id)

    def verify(self, step: Step) -> bool:
        return any(s.matchers == (self._matcher(step),) for s in self._ours(self._there(step), step))

    def undo(self, step: Step, state_before: Mapping[str, str]) -> None:  # noqa: ARG002 - only our own is expired
        self._matcher(step)
        there = self._there(step)
        for silence in self._ours(there, step):
            there.expire_silence(silence.id)

    def verify_undone(self, step: Step, state_before: Mapping[str, str]) -> bool:  # noqa: ARG002 - others may have ended
        return not self._ours(self._there(step), step)

    def capacity(self, service_targets: Sequence[str]) -> Mapping[str, float]:  # noqa: ARG002 - it serves nobody
        return {}

    def witness(self, step: Step) -> str:  # noqa: ARG002 - the alerts themselves are evidence already
        return ""

    def _there(self, step: Step) -> Alertmanager:
        url = read_reference(self._url) if is_reference(self._url) else self._url
        return Alertmanager(url, timeout=tightest(self._settings.timeout, step))

    def _ours(self, there: Alertmanager, step: Step) -> list[RemoteSilence]:
        mark = _mark(step)
        found = [s for s in there.silences() if not s.is_expired and s.comment.endswith(mark)]
        return sorted(found, key=lambda silence: silence.id)

    def _matcher(self, step: Step) -> Matcher:
        """Raises InvalidInput for another action, an unknown target or a duration that is not allowed."""
        if step.action != SILENCE:
            raise InvalidInput(f"{self.name} has no action {step.action!r}; it has {SILENCE}")
        if step.target not in self._targets:
            label = self._settings.label
            hint = did_you_mean(step.target, self._targets)
            raise InvalidInput(f"services.yaml has no {label} {step.target!r}{hint}")
        self._duration(step)
        return make_matcher(self._settings.label, MatchOperator.EQUAL, step.target)

    def _duration(self, step: Step) -> timedelta:
        text = str(step.params.get("duration", ""))
        given, longest = parse_duration(text), self._settings.longest
        if not timedelta(0) < given <= longest:
            most = longest.total_seconds()
            raise InvalidInput(
                f"silence of {step.target}: duration is {text}, it must be more than 0s, at most {most:g}s"
            )
        return given


def make_silence(name: str, settings: Mapping[str, Any], config: Config) -> SilenceActuator:
    """The factory behind the entry point `alertmanager`."""
    known = read_settings(SilenceSettings, settings)
    url = known.url or config.connections.alertmanager
    if not url:
        raise InvalidInput("url is missing, and so is connections.alertmanager in quell.toml: give one of them")
    return SilenceActuator(name, known, url=url, catalog=config.catalog)


def _mark(step: Step) -> str:
    return _MARK.format(idempotency_key(step))


def is_of_a_step(silence: RemoteSilence) -> bool:
    """Whether a step made it, whose undo will expire it."""
    start, _, end = _MARK.partition("{}")
    return silence.created_by == CREATED_BY and start in silence.comment and silence.comment.endswith(end)
