"""Planned times: when they are, what they mute, and that nothing stays muted for good."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from quell.adapters.store.memory import MemoryStore
from quell.config.config import Config, Connections
from quell.incidents.alert import Alert, AlertOutcome
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.maintenance import Maintenance, Weekly, find_maintenance, maintenance_periods
from quell.incidents.matcher import parse_matchers
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.signal import Direction, Signal, SignalKind
from tasks.intake import drain_inbox
from tasks.maintenance import planned_periods
from tasks.resources import Resources

pytestmark = pytest.mark.unit

T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
PAYMENT = parse_matchers('{service="payment"}')
UPGRADE = Maintenance(name="upgrade", matchers=PAYMENT, once=(T0, T0 + HOUR), reason="CHG-7")


def weekly(days: tuple[int, ...], start: str, end: str, zone: str = "UTC") -> Maintenance:
    hours = Weekly(days=days, start=time.fromisoformat(start), end=time.fromisoformat(end), zone=ZoneInfo(zone))
    return Maintenance(name="weekly", matchers=PAYMENT, weekly=hours)


def is_on(planned: Maintenance, now: datetime, **labels: str) -> bool:
    return find_maintenance([planned], labels or {"service": "payment"}, now=now) is not None


def test_once_holds_from_its_start_until_its_end() -> None:
    assert not is_on(UPGRADE, T0 - timedelta(seconds=1))
    assert is_on(UPGRADE, T0)
    assert is_on(UPGRADE, T0 + HOUR - timedelta(seconds=1))
    assert not is_on(UPGRADE, T0 + HOUR)
    assert not is_on(UPGRADE, T0, service="checkout")


def test_every_week_on_its_days() -> None:
    planned = weekly((6,), "03:00", "04:30")
    sunday = datetime(2026, 11, 29, tzinfo=UTC)
    on = [hour / 2 for hour in range(48 * 14) if is_on(planned, sunday + hour / 2 * HOUR)]
    assert on == [3.0, 3.5, 4.0, 171.0, 171.5, 172.0]


def test_an_end_before_its_start_is_the_next_days() -> None:
    planned = weekly((4,), "23:00", "02:00")
    friday = datetime(2026, 11, 27, tzinfo=UTC)
    assert [hour for hour in range(48) if is_on(planned, friday + hour * HOUR)] == [23, 24, 25]


def test_the_clock_on_the_wall_counts_through_daylight_saving() -> None:
    """Berlin leaves summer time on 2026-10-25 at 03:00: 04:00 is 02:00 UTC the week before, 03:00 UTC that day."""
    planned = weekly((6,), "04:00", "05:00", "Europe/Berlin")
    periods = planned.periods(datetime(2026, 10, 17, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC))
    assert [start.isoformat() for start, _ in periods] == ["2026-10-18T02:00:00+00:00", "2026-10-25T03:00:00+00:00"]
    night = weekly((6,), "02:00", "04:00", "Europe/Berlin")
    [(start, end)] = night.periods(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC))
    assert end - start == timedelta(hours=3)


def test_of_two_the_one_that_ends_last_is_named() -> None:
    longer = Maintenance(name="longer", matchers=PAYMENT, once=(T0, T0 + 2 * HOUR))
    found = find_maintenance([UPGRADE, longer], {"service": "payment"}, now=T0)
    assert found == (longer, T0 + 2 * HOUR)


def test_only_what_concerns_the_series_is_left_out_of_fitting() -> None:
    of = [{"service": "checkout"}]
    assert maintenance_periods([UPGRADE], of, since=T0 - HOUR, until=T0 + HOUR) == ()
    of.append({"service": "payment"})
    assert maintenance_periods([UPGRADE], of, since=T0 - HOUR, until=T0 + HOUR) == ((T0, T0 + HOUR),)
    assert maintenance_periods([UPGRADE], of, since=T0 + 2 * HOUR, until=T0 + 3 * HOUR) == ()


SHOP = Catalog(
    services={
        "checkout": Service(name="checkout", team="shop", depends_on=("payment",)),
        "payment": Service(name="payment", team="money", instances=(Instance(name="payment-1", service="payment"),)),
    }
)


@dataclass
class Desk:
    """A store, a clock and planned maintenance, which the test moves."""

    store: MemoryStore = field(default_factory=MemoryStore)
    now: datetime = T0 + timedelta(minutes=1)
    planned: tuple[Maintenance, ...] = (UPGRADE,)

    @property
    def res(self) -> Resources:
        config = Config(
            folder=Path(),
            connections=Connections(store="", prometheus=""),
            catalog=SHOP,
            maintenance=self.planned,
        )
        return Resources(config=config, store=self.store, metrics=None, actuators={}, clock=lambda: self.now)  # type: ignore[arg-type]

    def send(self, status: str = "firing", **labels: str) -> list[str]:
        payload: dict[str, Any] = {
            "status": status,
            "labels": {"alertname": "Errors", **labels},
            "startsAt": T0.isoformat(),
            "endsAt": self.now.isoformat() if status == "resolved" else None,
        }
        id = f"{labels}{status}{self.now}"
        self.store.receive(
            [InboxItem(id=id, kind=InboxKind.ALERT, source="test", payload=payload, received_at=self.now)]
        )
        return drain_inbox(self.res)

    def only_alert(self) -> Alert:
        with self.store.reading() as tx:
            [alert] = tx.alerts.find()
        return alert


def test_an_alert_in_maintenance_is_muted_with_the_reason() -> None:
    desk = Desk()
    assert desk.send(service="payment") == []
    alert = desk.only_alert()
    assert alert.outcome is AlertOutcome.MUTED
    assert alert.outcome_reason == (
        'maintenance "upgrade" (CHG-7) until 2026-11-23 13:00 UTC; placed then if it still fires'
    )
    with desk.store.reading() as tx:
        [entry] = tx.timeline.entries()
    assert entry.kind == "alert muted"


def test_an_instance_of_the_service_counts_as_the_service() -> None:
    desk = Desk()
    desk.send(instance="payment-1")
    assert desk.only_alert().outcome is AlertOutcome.MUTED


def test_another_service_is_not_muted() -> None:
    assert Desk().send(service="checkout") == ["INC-1"]


def test_what_still_fires_when_maintenance_ends_opens_an_incident() -> None:
    desk = Desk()
    desk.send(service="payment")
    desk.now = T0 + HOUR - timedelta(seconds=1)
    assert drain_inbox(desk.res) == []
    desk.now = T0 + HOUR
    assert drain_inbox(desk.res) == ["INC-1"]
    assert desk.only_alert().outcome is AlertOutcome.OPENED
    assert drain_inbox(desk.res) == []


def test_maintenance_that_is_taken_out_of_the_file_mutes_no_more() -> None:
    desk = Desk()
    desk.send(service="payment")
    desk.planned = ()
    assert drain_inbox(desk.res) == ["INC-1"]


def test_what_is_resolved_always_passes() -> None:
    desk = Desk()
    desk.send(service="payment")
    desk.now += timedelta(minutes=1)
    desk.send("resolved", service="payment")
    assert desk.only_alert().status == "resolved"
    desk.now = T0 + HOUR
    assert drain_inbox(desk.res) == []  # it is over: nothing to place

    desk = Desk(planned=())
    assert desk.send(service="payment") == ["INC-1"]
    desk.planned = (UPGRADE,)
    desk.now += timedelta(minutes=1)
    desk.send("resolved", service="payment")
    assert desk.only_alert().status == "resolved"


def test_a_signal_forgets_the_maintenance_of_what_its_service_needs() -> None:
    signal = Signal(
        name="checkout-errors",
        query="q",
        kind=SignalKind.ERROR_RATIO,
        direction=Direction.HIGH,
        unit="ratio",
        step=timedelta(seconds=5),
        service="checkout",
        history=timedelta(days=1),
    )
    res = replace(Desk().res, clock=lambda: T0 + HOUR)
    assert planned_periods(res, signal, [{}], T0 + HOUR) == ((T0, T0 + HOUR),)
    lone = replace(signal, service=None)
    assert planned_periods(res, lone, [{"service": "warehouse"}], T0 + HOUR) == ()
    assert planned_periods(res, lone, [{"service": "payment"}], T0 + HOUR) == ((T0, T0 + HOUR),)


BERLIN = ZoneInfo("Europe/Berlin")
SUNDAYS = (6,)


@pytest.mark.parametrize(
    ("start", "end", "day", "expected"),
    [
        # 2026-03-29: 02:00 becomes 03:00
        ((1, 30), (3, 30), datetime(2026, 3, 29, tzinfo=UTC), [("00:30", "01:30")]),
        ((2, 30), (3, 0), datetime(2026, 3, 29, tzinfo=UTC), []),  # hours that do not exist that night
        # 2026-10-25: 03:00 becomes 02:00 once more
        ((1, 30), (3, 30), datetime(2026, 10, 25, tzinfo=UTC), [("23:30", "02:30")]),
        ((12, 0), (13, 0), datetime(2026, 10, 25, tzinfo=UTC), [("11:00", "12:00")]),
    ],
)
def test_the_clock_on_the_wall_counts_across_daylight_saving(
    start: tuple[int, int], end: tuple[int, int], day: datetime, expected: list[tuple[str, str]]
) -> None:
    weekly = Weekly(days=SUNDAYS, start=time(*start), end=time(*end), zone=BERLIN)
    found = list(weekly.periods(day - timedelta(hours=1), day + timedelta(hours=22)))
    assert [(f"{a:%H:%M}", f"{b:%H:%M}") for a, b in found] == expected
