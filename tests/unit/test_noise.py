"""Rules on which nobody acts are named with the evidence and the mildest cure."""

from datetime import UTC, datetime, timedelta

import pytest

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id
from quell.incidents.labels import fingerprint
from quell.triage.noise import Followed, rate_rules

pytestmark = pytest.mark.unit
T0 = datetime(2026, 11, 1, tzinfo=UTC)
IGNORED = Followed(acts=frozenset())


def episodes(
    count: int,
    *,
    minutes: float | None = 30,
    outcome: AlertOutcome = AlertOutcome.OPENED,
    one: bool = False,
    **labels: str,
) -> list[Alert]:
    labels = {"alertname": "DiskFull", "service": "db", **labels}
    mark = fingerprint(labels)
    return [
        Alert(
            id=alert_id(mark, start), fingerprint=mark, status=AlertStatus.RESOLVED, labels=labels, annotations={},
            starts_at=start, ends_at=None if minutes is None else start + timedelta(minutes=minutes + n / 60),
            source="alertmanager", received_at=start, updated_at=start, outcome=outcome,
            incident="INC-0" if one else f"INC-{n}",
        )
        for n in range(count)
        for start in (T0 + timedelta(hours=n),)
    ]  # fmt: skip


def followed(count: int, **changes: Followed) -> dict[str, Followed]:
    return {f"INC-{n}": IGNORED for n in range(count)} | changes


@pytest.mark.parametrize(
    ("alerts", "cure"),
    [
        (episodes(10, minutes=2), "raise `for` to 3m: 10 of 10 episodes were over by then"),
        (episodes(4, signal="cpu"), "recompute the threshold of cpu: run the flow recompute-thresholds"),
        (episodes(12, one=True), "group it: 12 episodes were 1 incidents; alert on the sum, not on each instance"),
        (episodes(4, severity="critical"), "lower its severity from critical: nobody acted on 4 episodes"),
        (episodes(4), "delete it, or write a runbook: nobody acted on 4 episodes"),
    ],
)
def test_the_cure_follows_the_evidence(alerts: list[Alert], cure: str) -> None:
    [rule] = rate_rules(alerts, followed(12))
    assert rule.is_noise and rule.cure == cure


def test_what_is_dismissed_is_to_be_deleted() -> None:
    dismissed = Followed(acts=frozenset(), is_dismissed=True)
    [rule] = rate_rules(episodes(4), {f"INC-{n}": dismissed for n in range(4)})
    assert rule.dismissed_share == 1 and rule.cure.startswith("delete it: 100%")


def test_a_rule_on_which_somebody_acted_once_is_no_noise() -> None:
    acted = {"INC-3": Followed(acts=frozenset({"acknowledged"}))}
    [rule] = rate_rules(episodes(9), {**followed(9), **acted})
    assert not rule.is_noise and rule.acted == 1


def test_few_muted_and_doubled_alerts_are_no_noise() -> None:
    assert not rate_rules(episodes(2), followed(2))[0].is_noise
    assert rate_rules(episodes(9, outcome=AlertOutcome.MUTED), followed(9)) == []
    assert rate_rules(episodes(9, outcome=AlertOutcome.DUPLICATE), followed(9)) == []
