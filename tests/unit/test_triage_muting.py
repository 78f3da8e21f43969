"""What is muted says by what, and is placed when that ends."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.errors import InvalidInput, Refused
from quell.incidents.matcher import parse_matchers
from quell.incidents.silence import Silence, SilenceId, SilenceState, check_silence
from quell.triage.rules import Inhibition, OpenAfter, Rules
from tasks.silences import add_silence, end_silence
from tests.triage_desk import T0, Desk

pytestmark = pytest.mark.unit

HOUR = timedelta(hours=1)
NOW = T0 + HOUR


def fire(desk: Desk, name: str = "Errors", *, resolved: bool = False, **labels: str) -> Alert:
    body: dict[str, Any] = {
        "labels": {"alertname": name, **labels},
        "startsAt": (T0 + timedelta(minutes=50)).isoformat(),
        "status": "resolved" if resolved else "firing",
        "endsAt": desk.now.isoformat() if resolved else None,
    }
    desk.send(body)
    desk.drain()
    return of(desk, name, labels)


def of(desk: Desk, name: str, labels: Mapping[str, str]) -> Alert:
    (found,) = [a for a in desk.alerts() if a.labels == {"alertname": name, **labels}]
    return found


def test_a_silenced_alert_says_by_whom_and_is_placed_when_the_silence_ends() -> None:
    desk = Desk(now=NOW)
    silence = add_silence(desk.res, 'service=~"check.*"', ends_at=desk.now + HOUR, by="dora", comment="disk")
    muted = fire(desk, service="checkout")
    assert (muted.outcome, muted.rule) == (AlertOutcome.MUTED, "silence SIL-1")
    assert muted.outcome_reason == "silence SIL-1 by dora until 2026-11-23 14:00 UTC: disk"
    assert fire(desk, service="payment").outcome is AlertOutcome.OPENED
    desk.now += HOUR - timedelta(seconds=1)
    desk.drain()
    assert of(desk, "Errors", {"service": "checkout"}).outcome is AlertOutcome.MUTED
    desk.now += timedelta(seconds=1)
    desk.drain()
    placed = of(desk, "Errors", {"service": "checkout"})
    assert placed.outcome is AlertOutcome.JOINED
    assert [ruling.rule for ruling in placed.history] == ["silence SIL-1"]
    with desk.store.reading() as tx:
        settled = tx.silences.get(silence.id)
    assert settled is not None and settled.settled_at == desk.now


def test_an_expired_silence_lets_go_at_once_and_resolved_always_passes() -> None:
    desk = Desk(now=NOW)
    add_silence(desk.res, "service=checkout", ends_at=desk.now + HOUR, by="dora", comment="disk")
    fire(desk, service="checkout", instance="checkout-1")
    fire(desk, service="checkout", instance="checkout-2")
    fire(desk, service="checkout", instance="checkout-2", resolved=True)
    assert end_silence(desk.res, "sil-1", by="dora").state(desk.now) is SilenceState.EXPIRED
    desk.drain()
    outcomes = {a.instance: (a.outcome, a.status) for a in desk.alerts()}
    assert outcomes == {"checkout-1": ("opened", "firing"), "checkout-2": ("muted", "resolved")}
    with pytest.raises(Refused, match="nothing to expire"):
        end_silence(desk.res, "SIL-1", by="dora")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"matchers": ()}, "would mute everything"),
        ({"matchers": parse_matchers('a=~".*"')}, "would mute everything"),
        ({"ends_at": T0}, "not after its start"),
        ({"comment": " "}, "no author or no comment"),
    ],
)
def test_a_silence_that_mutes_everything_or_names_nobody_is_refused(change: dict[str, Any], why: str) -> None:
    good = Silence(
        id=SilenceId("SIL-1"), matchers=parse_matchers("a=b"), starts_at=T0, ends_at=T0 + HOUR,
        created_by="dora", comment="disk", created_at=T0, updated_at=T0,
    )  # fmt: skip
    assert check_silence(good) == good
    with pytest.raises(InvalidInput, match=why):
        check_silence(replace(good, **change))


INHIBIT = Rules(
    inhibit=(
        Inhibition(
            name="node down",
            source=parse_matchers("alertname=NodeDown"),
            target=parse_matchers("alertname=~Errors.*"),
            equal=("zone",),
            where="routing.yaml:7",
        ),
    )
)


def test_a_firing_source_inhibits_only_what_has_the_same_labels() -> None:
    desk = Desk(now=NOW, rules=INHIBIT)
    source = fire(desk, "NodeDown", service="alone", zone="a")
    muted = fire(desk, service="warehouse", zone="a")
    assert (muted.outcome, muted.rule, muted.rule_at) == (AlertOutcome.MUTED, "inhibition node down", "routing.yaml:7")
    assert source.id in muted.outcome_reason
    assert fire(desk, service="payment", zone="b").outcome is AlertOutcome.OPENED


def test_a_resolved_source_no_longer_inhibits_and_lets_go_what_it_held() -> None:
    desk = Desk(now=NOW, rules=INHIBIT)
    fire(desk, "NodeDown", service="alone", zone="a")
    fire(desk, service="warehouse", zone="a")
    fire(desk, "NodeDown", service="alone", zone="a", resolved=True)
    assert of(desk, "Errors", {"service": "warehouse", "zone": "a"}).outcome is AlertOutcome.OPENED
    assert fire(desk, service="payment", zone="a").outcome is AlertOutcome.OPENED


def test_a_source_lets_go_of_everything_however_many_it_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.triage.MOST_FREED", 2)
    desk = Desk(now=NOW, rules=INHIBIT)
    fire(desk, "NodeDown", service="alone", zone="a")
    for n in range(7):
        fire(desk, service="warehouse", zone="a", disk=str(n))
    fire(desk, "NodeDown", service="alone", zone="a", resolved=True)
    assert not [alert for alert in desk.alerts() if alert.outcome is AlertOutcome.MUTED]


def test_a_muted_source_does_not_inhibit() -> None:
    desk = Desk(now=NOW, rules=INHIBIT)
    add_silence(desk.res, "alertname=NodeDown", ends_at=desk.now + HOUR, by="dora", comment="known")
    assert fire(desk, "NodeDown", service="alone", zone="a").outcome is AlertOutcome.MUTED
    assert fire(desk, service="warehouse", zone="a").outcome is AlertOutcome.OPENED


def test_source_and_target_in_one_batch_do_not_depend_on_their_order() -> None:
    desk = Desk(now=NOW, rules=INHIBIT)
    for name, service, minute in (("Errors", "warehouse", 40), ("NodeDown", "alone", 50)):
        desk.send(
            {
                "labels": {"alertname": name, "service": service, "zone": "a"},
                "startsAt": (T0 + timedelta(minutes=minute)).isoformat(),
            }
        )
    desk.drain()
    assert of(desk, "Errors", {"service": "warehouse", "zone": "a"}).outcome is AlertOutcome.MUTED


def test_an_alert_that_waits_is_opened_by_the_clock_alone() -> None:
    late = OpenAfter(name="late", matchers=parse_matchers("alertname=Errors"), lasting=timedelta(minutes=15))
    desk = Desk(now=NOW, rules=Rules(open_after=(late,)))
    assert fire(desk, service="alone").outcome is AlertOutcome.WAITING
    desk.now += timedelta(minutes=5)
    desk.drain()
    opened = of(desk, "Errors", {"service": "alone"})
    assert (opened.outcome, opened.incident) == (AlertOutcome.OPENED, "INC-1")
    assert opened.history[0].rule == 'opening threshold "late"'


def test_an_incident_of_the_present_is_not_joined_by_what_began_after_it_was_resolved() -> None:
    """A resolved incident never silently absorbs: it reopens, or a new one opens."""
    desk = Desk(now=NOW)
    fire(desk, service="checkout")
    fire(desk, service="checkout", resolved=True)
    desk.now += timedelta(minutes=10)
    desk.drain()
    desk.send({"labels": {"alertname": "Slow", "service": "checkout"}, "startsAt": desk.now.isoformat()})
    desk.drain()
    assert {i.id: str(i.state) for i in desk.incidents()} == {"INC-1": "resolved", "INC-2": "triaged"}
