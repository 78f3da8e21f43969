"""An anomaly: one stretch of one series that a person should look at, and the label that a person gave it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from quell.incidents.errors import InvalidInput
from quell.incidents.labels import Fingerprint, Labels, format_labels
from quell.incidents.timeline import Event
from quell.incidents.verdict import VerdictKind

LONGEST_WHY = 500


class AnomalyLabel(StrEnum):
    """What a person says it was."""

    REAL = "real"  # trouble: nothing is learned from this time
    FALSE = "false"  # nothing happened: the series does this
    EXPECTED = "expected"  # something happened, and it was meant to; the why says what


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One episode of one series, shown as it was at its worst moment; numbers are in the signal's unit.

    `series` is the id of the series' verdict, `fingerprint` that of the alert which the sweep raises for it, and
    `last_at` the last sweep that found it worth a look. `is_proven`: the person gave a one-time code.
    """

    id: str
    series: str
    signal: str
    labels: Labels
    service: str | None
    fingerprint: Fingerprint
    started_at: datetime
    last_at: datetime
    worst_at: datetime
    kind: VerdictKind
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    reason: str
    because: str
    baseline: str | None = None
    label: AnomalyLabel | None = None
    labelled_by: str | None = None
    labelled_at: datetime | None = None
    why: str = ""
    channel: str = ""
    is_proven: bool = False
    code_step: int | None = None  # the time step of the one-time code, so that it works once

    @property
    def waits(self) -> bool:
        return self.label is None

    @property
    def name(self) -> str:
        """The series as people read it: `error-ratio{instance="checkout-2"}`."""
        return f"{self.signal}{format_labels(self.labels)}"


def parse_label(text: str) -> AnomalyLabel:
    """Raises InvalidInput with the words that are known."""
    try:
        return AnomalyLabel(text.strip().lower())
    except ValueError as error:
        raise InvalidInput(f"label is {text[:40]!r}; it must be one of {', '.join(AnomalyLabel)}") from error


def label_anomaly(
    anomaly: Anomaly,
    label: AnomalyLabel,
    *,
    by: str,
    why: str,
    channel: str,
    now: datetime,
    code_step: int | None = None,
    incident: str | None = None,
) -> tuple[Anomaly, Event]:
    """The anomaly under its label, and the entry for the timeline. A later label takes an earlier one's place.

    Raises InvalidInput where `expected` has no why, or the why is too long.
    """
    why = " ".join(why.split())
    if label is AnomalyLabel.EXPECTED and not why:
        raise InvalidInput(f"why is empty: say what made {anomaly.id} expected, so that the next reader knows")
    if len(why) > LONGEST_WHY:
        raise InvalidInput(f"why has {len(why)} characters, the limit is {LONGEST_WHY}: put the rest elsewhere")
    labelled = replace(
        anomaly,
        label=label,
        labelled_by=by,
        labelled_at=now,
        why=why,
        channel=channel,
        is_proven=code_step is not None,
        code_step=code_step,
    )
    before = f" (before: {anomaly.label} by {anomaly.labelled_by})" if anomaly.label else ""
    event = Event(
        incident=incident,
        at=now,
        kind=f"anomaly {label}",
        by=by,
        text=f"{anomaly.name}: {label}{f', {why}' if why else ''}{before}",
        subject=anomaly.id,
        evidence={
            "channel": channel,
            "proof": "one-time code" if code_step is not None else "name only",
            "from": anomaly.started_at.isoformat(),
            "to": anomaly.last_at.isoformat(),
            "reason": anomaly.reason,
        },
    )
    return labelled, event
