"""One episode of an alert stays one, however often and in whatever order it is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incidents.alert import Alert, AlertOutcome, AlertStatus, alert_id, merge_alerts
from quell.incidents.labels import Fingerprint, fingerprint

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
LABELS = {"alertname": "InstanceErrors", "service": "checkout", "instance": "checkout-2", "severity": "critical"}


def alert(*, resolved: int | None = None, heard: int = 0, url: str = "http://prometheus/graph") -> Alert:
    at = NOW + timedelta(seconds=heard)
    return Alert(
        id=alert_id(fingerprint(LABELS), NOW),
        fingerprint=fingerprint(LABELS),
        status=AlertStatus.FIRING if resolved is None else AlertStatus.RESOLVED,
        labels=LABELS,
        annotations={"summary": f"heard at {heard}"},
        starts_at=NOW,
        ends_at=None if resolved is None else NOW + timedelta(seconds=resolved),
        source="alertmanager",
        generator_url=url,
        received_at=at,
        updated_at=at,
    )


ALERTS = st.builds(alert, resolved=st.none() | st.integers(0, 99), heard=st.integers(0, 99))


def test_an_alert_says_what_its_labels_say() -> None:
    told = alert()
    assert (told.name, told.service, told.instance, told.severity_label) == (
        "InstanceErrors",
        "checkout",
        "checkout-2",
        "critical",
    )
    bare = replace(told, labels={})
    assert (bare.name, bare.service, bare.instance, bare.severity_label) == ("", None, None, None)


def test_the_id_is_the_same_from_every_sender_and_zone() -> None:
    start = datetime(2026, 11, 23, 7, 58, 54, 725_000, tzinfo=UTC)
    other = start.astimezone(timezone(timedelta(hours=-5)))
    assert alert_id(Fingerprint("baa59a3016bb596b"), start) == "baa59a3016bb596b-1795420734725"
    assert alert_id(Fingerprint("baa59a3016bb596b"), other) == "baa59a3016bb596b-1795420734725"


def test_resolved_wins_over_firing_in_either_order() -> None:
    firing, resolved = alert(heard=20), alert(resolved=10, heard=15)
    for merged in (merge_alerts(firing, resolved), merge_alerts(resolved, firing)):
        assert merged.status is AlertStatus.RESOLVED
        assert merged.ends_at == NOW + timedelta(seconds=10)


def test_the_first_receipt_and_the_last_update_are_kept() -> None:
    merged = merge_alerts(alert(heard=5, url="http://old"), alert(heard=9, url=""))
    assert merged.received_at == NOW + timedelta(seconds=5)
    assert merged.updated_at == NOW + timedelta(seconds=9)
    assert merged.annotations == {"summary": "heard at 9"}
    assert merged.generator_url == "http://old"


def test_the_sender_never_overwrites_what_triage_decided() -> None:
    judged = replace(alert(), outcome=AlertOutcome.JOINED, outcome_reason="same service", incident="INC-1")
    merged = merge_alerts(judged, alert(resolved=3, heard=4))
    assert (merged.outcome, merged.outcome_reason, merged.incident) == (AlertOutcome.JOINED, "same service", "INC-1")


def test_two_episodes_are_never_merged() -> None:
    other = replace(alert(), id=alert_id(fingerprint(LABELS), NOW + timedelta(seconds=1)))
    with pytest.raises(ValueError, match="cannot be merged"):
        merge_alerts(alert(), other)


@given(ALERTS)
def test_hearing_the_same_twice_changes_nothing(one: Alert) -> None:
    assert merge_alerts(one, one) == one


@given(ALERTS, ALERTS)
def test_the_order_of_arrival_does_not_matter(one: Alert, other: Alert) -> None:
    first, second = merge_alerts(one, other), merge_alerts(other, one)
    same_time = one.updated_at == other.updated_at
    assert replace(first, annotations={}) == replace(second, annotations={})
    assert same_time or first.annotations == second.annotations


@given(ALERTS, ALERTS, ALERTS)
def test_it_does_not_matter_which_are_merged_first(a: Alert, b: Alert, c: Alert) -> None:
    left, right = merge_alerts(merge_alerts(a, b), c), merge_alerts(a, merge_alerts(b, c))
    assert replace(left, annotations={}) == replace(right, annotations={})
