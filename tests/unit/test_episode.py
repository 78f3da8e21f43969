"""Episodes: announced once, ended once, whatever the sweeps see in between."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.detection.episode import (
    Episode,
    Finding,
    begin_or_continue,
    deserves_alert,
    from_body,
    letters,
    rest,
    to_body,
)
from quell.incidents.verdict import Verdict, VerdictKind

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
FINDING = Finding(key="errors:1", labels={"alertname": "Anomaly"}, annotations={"value": "0.6"}, since=NOW)


def play(sweeps: str, confirm: int = 1) -> tuple[Episode | None, list[str]]:
    """Run sweeps ("t" trouble, "c" calm) and deliver after each; what is left, and the letters without repeats."""
    episode: Episode | None = None
    sent: dict[str, None] = {}
    for n, seen in enumerate(sweeps):
        now = NOW + timedelta(seconds=30 * n)
        if seen == "t":
            since = Finding(key=FINDING.key, labels=FINDING.labels, annotations={}, since=now)
            episode = begin_or_continue(episode, since)
        elif episode is not None:
            episode = rest(episode, now=now, confirm_sweeps=confirm)
        if episode is None:
            continue
        due = letters([episode], now=now, confirm_sweeps=confirm)
        sent.update(dict.fromkeys(item.id for item in due))
        if due:
            episode = None if episode.is_over else episode.as_delivered()
    return episode, [id.rsplit(":", 1)[1] for id in sent]


@pytest.mark.parametrize(
    ("sweeps", "confirm", "expected"),
    [
        ("t", 1, ["firing"]),
        ("ttttt", 1, ["firing"]),
        ("tc", 1, ["firing"]),
        ("tcc", 1, ["firing", "resolved"]),
        ("tctctc", 1, ["firing"]),
        ("tcct", 1, ["firing", "resolved", "firing"]),
        ("t", 2, []),
        ("tct", 2, []),
        ("tt", 2, ["firing"]),
        ("ccc", 1, []),
    ],
)
def test_an_episode_is_announced_once_and_ends_after_two_calm_sweeps(
    sweeps: str, confirm: int, expected: list[str]
) -> None:
    assert play(sweeps, confirm)[1] == expected


@given(sweeps=st.text("tc", max_size=30), confirm=st.integers(1, 3))
def test_beginnings_and_ends_alternate_whatever_happens(sweeps: str, confirm: int) -> None:
    left, sent = play(sweeps + "cc", confirm)
    assert sent == ["firing", "resolved"] * (len(sent) // 2)
    assert left is None


def test_an_end_that_nobody_heard_of_is_taken_back_by_new_trouble() -> None:
    episode = begin_or_continue(None, FINDING).as_delivered()
    for _ in range(2):
        episode = rest(episode, now=NOW, confirm_sweeps=1)
        assert episode is not None
    assert episode.is_over
    again = begin_or_continue(episode, FINDING)
    assert not again.is_over and again.starts_at == episode.starts_at
    [item] = letters([again], now=NOW, confirm_sweeps=1)
    assert item.id.endswith(":firing")


def test_an_end_carries_its_beginning_in_case_that_was_lost() -> None:
    episode: Episode | None = begin_or_continue(None, FINDING)
    for _ in range(2):
        assert episode is not None
        episode = rest(episode, now=NOW + timedelta(minutes=1), confirm_sweeps=1)
    assert episode is not None
    firing, resolved = letters([episode], now=NOW, confirm_sweeps=1)
    assert "endsAt" not in firing.payload
    assert resolved.payload["endsAt"] == "2026-11-02T12:01:00+00:00"
    assert from_body(to_body({episode.key: episode})) == {episode.key: episode}


@pytest.mark.parametrize(
    ("kind", "score", "expected"),
    [
        (VerdictKind.ANOMALOUS, 0.1, True),
        (VerdictKind.DROP_TO_ZERO, 1.0, True),
        (VerdictKind.NO_DATA, 1.0, True),
        (VerdictKind.NO_DATA, 0.2, False),
        (VerdictKind.STALE, 0.2, False),
        (VerdictKind.NORMAL, 1.0, False),
        (VerdictKind.WARMING_UP, 1.0, False),
    ],
)
def test_trouble_deserves_an_alert_unless_the_series_was_mostly_away_before(
    kind: VerdictKind, score: float, expected: bool
) -> None:
    verdict = Verdict(
        id="errors:1",
        signal="errors",
        labels={},
        at=NOW,
        kind=kind,
        value=None,
        expected=None,
        lower=None,
        upper=None,
        score=score,
        samples=1,
        reason="",
    )
    assert deserves_alert(verdict) is expected
