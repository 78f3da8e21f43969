"""What a person is asked to look at, and what their word does to the record."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.detection.review import (
    MOST_WAITING_PER_SIGNAL,
    SAME_EPISODE,
    Candidate,
    begin,
    review_candidates,
    select,
    why_look,
)
from quell.incidents.anomaly import Anomaly, AnomalyLabel, label_anomaly, parse_label
from quell.incidents.errors import InvalidInput
from quell.incidents.labels import fingerprint
from quell.incidents.service import Catalog
from quell.incidents.signal import Direction, Signal, SignalKind
from quell.incidents.verdict import Verdict, VerdictKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CATALOG = Catalog(services={})
SIGNAL = Signal(
    name="error-ratio",
    query="q",
    kind=SignalKind.ERROR_RATIO,
    direction=Direction.HIGH,
    unit="ratio",
    step=timedelta(seconds=5),
)


def verdict(score: float, kind: VerdictKind = VerdictKind.ANOMALOUS, *, instance: str = "a-1", **given: Any) -> Verdict:
    usual: dict[str, Any] = {
        "id": f"error-ratio:{instance}",
        "signal": "error-ratio",
        "labels": {"instance": instance, "service": "a"},
        "at": NOW,
        "kind": kind,
        "value": 0.1 * score,
        "expected": 0.0,
        "lower": None,
        "upper": 0.1,
        "score": score,
        "samples": 100,
        "reason": f"score {score}",
    }
    return Verdict(**usual | given)


def candidates(*verdicts: Verdict) -> list[Candidate]:
    return review_candidates([(v, v.at.timestamp() - 20) for v in verdicts], SIGNAL, CATALOG)


def anomaly(score: float = 0.8, kind: VerdictKind = VerdictKind.ANOMALOUS, id: str = "ANO-1", **given: Any) -> Anomaly:
    [candidate] = candidates(verdict(score, kind, **given))
    return begin(candidate, id)


@pytest.mark.parametrize(
    ("score", "kind", "expected"),
    [
        (0.39, VerdictKind.NORMAL, None),
        (0.4, VerdictKind.NORMAL, "judged just inside the limit: score 0.40, the limit is 0.5"),
        (0.52, VerdictKind.ANOMALOUS, "judged just outside the limit: score 0.52, the limit is 0.5"),
        (0.97, VerdictKind.ANOMALOUS, "newly anomalous: score 0.97"),
        (0.5, VerdictKind.DROP_TO_ZERO, "judged just outside the limit: score 0.50, the limit is 0.5"),
        # the score of missing data is a share of presence, and a warming series has no limit yet
        (0.9, VerdictKind.NO_DATA, None),
        (0.9, VerdictKind.STALE, None),
        (0.9, VerdictKind.WARMING_UP, None),
    ],
)
def test_near_the_limit_or_anomalous_deserves_a_look(score: float, kind: VerdictKind, expected: str | None) -> None:
    assert why_look(verdict(score, kind)) == expected


def test_the_most_telling_come_first_and_no_more_than_may_wait() -> None:
    many = [verdict(0.4 + n / 10_000, VerdictKind.NORMAL, instance=f"a-{n}") for n in range(100)]
    found = candidates(*many, verdict(0.6, instance="bad"))
    assert len(found) == MOST_WAITING_PER_SIGNAL
    assert [c.verdict.score for c in found[:3]] == pytest.approx([0.6, 0.4099, 0.4098])


def test_an_anomaly_begins_with_its_trouble_and_carries_the_mark_of_its_alert() -> None:
    found = anomaly()
    assert found.started_at == NOW - timedelta(seconds=20)
    alert = {"alertname": "Anomaly", "signal": "error-ratio", "severity": "major", "instance": "a-1", "service": "a"}
    assert found.fingerprint == fingerprint(alert)
    assert anomaly(0.45, VerdictKind.NORMAL).started_at == NOW  # nothing began yet


def test_one_series_and_episode_is_one_anomaly_shown_at_its_worst() -> None:
    first = anomaly(0.45, VerdictKind.NORMAL)
    later = [
        replace(candidate, verdict=replace(candidate.verdict, at=NOW + timedelta(seconds=30 * n)))
        for n, candidate in enumerate(candidates(verdict(0.9)) + candidates(verdict(0.6)), start=1)
    ]
    for candidate in later:
        chosen = select([candidate], {first.series: first}, [first])
        assert chosen.begun == () and chosen.left_out == 0
        [first] = chosen.continued
    assert (first.id, first.score, first.kind) == ("ANO-1", 0.9, VerdictKind.ANOMALOUS)
    assert first.started_at == NOW
    assert first.worst_at == NOW + timedelta(seconds=30)
    assert first.last_at == NOW + timedelta(seconds=60)


def test_a_labelled_anomaly_goes_on_without_waiting_again() -> None:
    labelled = replace(anomaly(), label=AnomalyLabel.FALSE)
    chosen = select(candidates(verdict(0.8)), {labelled.series: labelled}, [])
    assert chosen.begun == ()
    assert [a.label for a in chosen.continued] == [AnomalyLabel.FALSE]


def test_what_waits_is_bounded_and_the_least_telling_give_way() -> None:
    old = NOW - 2 * SAME_EPISODE
    near = [
        anomaly(0.45, VerdictKind.NORMAL, id=f"ANO-{n}", instance=f"n-{n}", at=old + timedelta(seconds=n))
        for n in range(MOST_WAITING_PER_SIGNAL)
    ]
    chosen = select(candidates(verdict(0.95, instance="x"), verdict(0.45, VerdictKind.NORMAL, instance="y")), {}, near)
    assert [c.verdict.labels["instance"] for c in chosen.begun] == ["x", "y"]
    assert chosen.dropped == ("ANO-0", "ANO-1")  # the oldest near the limit

    loud = [anomaly(0.95, id=f"ANO-{n}", instance=f"n-{n}") for n in range(MOST_WAITING_PER_SIGNAL)]
    chosen = select(candidates(verdict(0.45, VerdictKind.NORMAL, instance="y")), {}, loud)
    assert (chosen.begun, chosen.dropped, chosen.left_out) == ((), (), 1)


def test_a_label_says_who_what_and_why_and_may_be_changed() -> None:
    labelled, event = label_anomaly(
        anomaly(), AnomalyLabel.EXPECTED, by="carol", why=" nightly\n batch ", channel="page", now=NOW
    )
    assert (labelled.label, labelled.labelled_by, labelled.why) == (AnomalyLabel.EXPECTED, "carol", "nightly batch")
    assert (event.kind, event.by, event.subject) == ("anomaly expected", "carol", "ANO-1")
    assert event.text == 'error-ratio{instance="a-1", service="a"}: expected, nightly batch'
    assert event.evidence["proof"] == "name only"

    again, event = label_anomaly(labelled, AnomalyLabel.REAL, by="bob", why="", channel="cli", now=NOW, code_step=7)
    assert (again.label, again.is_proven) == (AnomalyLabel.REAL, True)
    assert event.text.endswith(": real (before: expected by carol)")


def test_expected_needs_a_why() -> None:
    with pytest.raises(InvalidInput, match="why is empty: say what made ANO-1 expected"):
        label_anomaly(anomaly(), AnomalyLabel.EXPECTED, by="carol", why="  ", channel="page", now=NOW)
    with pytest.raises(InvalidInput, match="why has 501 characters, the limit is 500"):
        label_anomaly(anomaly(), AnomalyLabel.REAL, by="carol", why="x" * 501, channel="page", now=NOW)


def test_an_unknown_word_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="label is 'maybe'; it must be one of real, false, expected"):
        parse_label("maybe")
