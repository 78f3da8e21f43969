"""Routing: which receivers are told of something, by matchers over what it is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from quell.incidents.labels import Labels
from quell.incidents.maintenance import Weekly
from quell.incidents.matcher import Matcher, matches_all

ROUTED_BY = ("service", "severity", "team", "kind", "alertname", "incident")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """More than `more_than` notifications within `within` become one digest."""

    more_than: int = 5
    within: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who is told. `urls` are Apprise URLs by reference (env:NAME, file:PATH), since they hold tokens.

    `timeout` bounds one attempt at one address; `give_up_after` counts from the first attempt.
    """

    name: str
    urls: tuple[str, ...]
    only_actionable: bool = True
    quiet_hours: Weekly | None = None
    storm: Storm = field(default_factory=Storm)
    timeout: timedelta = timedelta(seconds=10)
    give_up_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """As in Alertmanager: the first route that matches decides, unless it says `continue`."""

    receivers: tuple[str, ...]
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterMail:
    """How authors of reports are told: an Apprise URL by reference, in which `{contact}` is replaced."""

    url: str
    contact_pattern: str = r"[^@\s,;<>\"']{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}"
    timeout: timedelta = timedelta(seconds=10)
    give_up_after: timedelta = timedelta(hours=12)
    most_per_incident: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleMail:
    """How one person is told: an Apprise URL by reference, in which `{contact}` is replaced by the person's e-mail."""

    url: str
    timeout: timedelta = timedelta(seconds=10)
    give_up_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """What notifications.yaml says. An opening waits for `wait`, so that it can name a suspect and a proposal."""

    receivers: Mapping[str, Receiver] = field(default_factory=dict[str, Receiver])
    routes: tuple[Route, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict[str, str])
    reporters: ReporterMail | None = None
    people: PeopleMail | None = None
    wait: timedelta = timedelta(seconds=3)


def find_receivers(routes: Sequence[Route], labels: Labels) -> tuple[str, ...]:
    """The names of those who are told, each once, in the order of the routes.

    >>> from quell.incidents.matcher import parse_matchers
    >>> team = Route(receivers=("shop",), matchers=parse_matchers('team="shop"'))
    >>> find_receivers([team, Route(receivers=("all",))], {"team": "shop"})
    ('shop',)
    >>> find_receivers([team, Route(receivers=("all",))], {"team": "platform"})
    ('all',)
    """
    return tuple(dict.fromkeys(_matching(routes, labels)))


def _matching(routes: Sequence[Route], labels: Labels) -> Iterable[str]:
    for route in routes:
        if matches_all(route.matchers, labels):
            yield from route.receivers
            if not route.goes_on:
                return
