"""Rules: what a person wrote in routing.yaml about opening, inhibiting and flapping; each knows its file and line."""

from dataclasses import dataclass, field
from datetime import timedelta

from quell.incidents.labels import Labels
from quell.incidents.matcher import Matcher, matches_all


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAfter:
    """Alerts that match open an incident only when `count` related ones began `within`, or one fires for `lasting`."""

    name: str
    matchers: tuple[Matcher, ...]
    count: int = 1
    within: timedelta = timedelta(minutes=5)
    lasting: timedelta
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """A firing alert that matches `source` mutes those that match `target` and have the same `equal` labels.

    Source: Alertmanager's inhibit rules. An alert that matches both sides is not muted by another such alert.
    """

    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    where: str = ""

    def is_source(self, labels: Labels) -> bool:
        return matches_all(self.source, labels)

    def is_target(self, labels: Labels) -> bool:
        return matches_all(self.target, labels)

    def key(self, labels: Labels) -> str:
        """What source and target have in common; a label that both lack is common too, as in Alertmanager."""
        return f"inhibit:{self.name}|" + "|".join(f"{name}={labels.get(name, '')}" for name in self.equal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """An alert that changed its state more than `changes` times `within` flaps."""

    changes: int = 6
    within: timedelta = timedelta(minutes=10)
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    open_after: tuple[OpenAfter, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()
    flapping: Flapping = field(default_factory=Flapping)

    def threshold_of(self, labels: Labels) -> OpenAfter | None:
        """The first rule that matches counts."""
        return next((rule for rule in self.open_after if matches_all(rule.matchers, labels)), None)
