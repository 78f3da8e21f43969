"""Telling: what goes on the timeline by itself, and what is counted and told together in a storm."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from quell.incidents.alert import Alert
from quell.incidents.incident import Incident
from quell.incidents.tally import Tally
from quell.triage.impact import EASES_AFTER
from quell.triage.quiet import QUIET_TIME

TOLD_SINGLY = 20  # the first alerts of an incident each have their line
TOLD_EVERY = timedelta(seconds=10)


def is_told_at_once(tally: Tally, now: datetime) -> bool:
    """One of the first alerts, or nothing was told for a while."""
    if tally.gathered:
        return False
    return tally.alerts <= TOLD_SINGLY or tally.told_at is None or now - tally.told_at >= TOLD_EVERY


def with_gathered(tally: Tally, kind: str, text: str) -> Tally:
    gathered = {**tally.gathered, kind: tally.gathered.get(kind, 0) + 1}
    return replace(tally, gathered=gathered, sample=tally.sample or text)


def gathered_lines(tally: Tally, now: datetime) -> Iterator[tuple[str, str]]:
    """Kind and text of each line: how many, in what time, and one of them; every alert keeps its own reason."""
    seconds = (now - tally.told_at).total_seconds() if tally.told_at else TOLD_EVERY.total_seconds()
    for kind, count in tally.gathered.items():
        noun, verb = ("alert", "was") if count == 1 else ("alerts", "were")
        what = kind.removeprefix("alert ")
        did = what if what == "joined" else f"{verb} {what}"
        yield kind, f"{count} {noun} {did} within {seconds:.0f} s; one of them: {tally.sample}"


def next_look(incident: Incident, quiet: timedelta = QUIET_TIME) -> datetime | None:
    """When the clock has to look at an active incident next; None while only news can change it."""
    tally = incident.tally or Tally()
    moments = [
        (tally.last_end_at or incident.updated_at) + quiet if not tally.firing else None,
        incident.eases_since + EASES_AFTER if incident.eases_since else None,
        (tally.told_at or incident.updated_at) + TOLD_EVERY if tally.gathered else None,
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def called(alert: Alert) -> str:
    """How people speak of an alert: its name and what it is about."""
    about = alert.instance or alert.labels.get("client") or alert.service
    signal = alert.labels.get("signal")
    name = f"{alert.name} {signal}" if signal else alert.name
    return f"{name} of {about}" if about else name
