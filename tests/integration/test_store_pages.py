"""What every store promises to pages: search, places in an order, counts that stop, groups, and a timeline in parts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.incidents.alert import Alert, AlertId, AlertStatus
from quell.incidents.incident import Incident, IncidentId, IncidentState, Severity, remember_keywords
from quell.incidents.labels import Fingerprint
from quell.incidents.timeline import Event
from quell.ports import GroupCount, Place, Store

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


def incident(number: int, *, title: str = "checkout fails", minutes: int = 0, **changes: Any) -> Incident:
    at = NOW + timedelta(minutes=minutes)
    made = Incident(
        id=IncidentId(f"INC-{number}"),
        state=IncidentState.TRIAGED,
        severity=Severity.MAJOR,
        title=title,
        service="checkout",
        onset_at=at,
        opened_at=at,
        updated_at=at,
        opened_because="",
        opened_by="test",
    )
    return replace(made, **changes)


def alert(id: str, name: str = "Errors", *, status: AlertStatus = AlertStatus.FIRING, minutes: int = 0) -> Alert:
    at = NOW + timedelta(minutes=minutes)
    return Alert(
        id=AlertId(id),
        fingerprint=Fingerprint(id),
        status=status,
        labels={"alertname": name, "service": "checkout", "zone": "Eu-1"},
        annotations={"summary": f"{name} is bad"},
        starts_at=at,
        source="alertmanager",
        received_at=at,
        updated_at=at,
        incident="INC-1",
    )


@pytest.fixture
def store(every_store: Store) -> Store:
    """Seven incidents, of which three opened in the same microsecond."""
    with every_store.writing() as tx:
        for number, minutes in enumerate((0, 1, 2, 2, 2, 3, 4), start=1):
            tx.incidents.add(
                incident(number, minutes=minutes, title="Zahlung Fällt aus" if number == 4 else "it fails")
            )
    return every_store


@pytest.mark.parametrize("descending", [True, False])
def test_pages_by_place_show_each_record_once_ties_too(store: Store, descending: bool) -> None:
    with store.reading() as tx:
        order: dict[str, Any] = {"order": "opened_at", "descending": descending}
        whole = [i.id for i in tx.incidents.find(**order)]
        seen: list[str] = []
        past: Place | None = None
        while page := tx.incidents.find(past=past, limit=2, **order):
            seen += [i.id for i in page]
            past = Place(value=page[-1].opened_at, id=page[-1].id)
    assert seen == whole and len(seen) == 7


def test_a_place_stays_where_it_is_when_its_record_moves_on(store: Store) -> None:
    """A live list is read in pages while incidents change: nothing is shown twice because the last one moved up."""
    with store.writing() as tx:
        [*_, last] = tx.incidents.find(order="updated_at", descending=True, limit=2)
        tx.incidents.put(replace(last, updated_at=NOW + timedelta(hours=1)))
        past = Place(value=last.updated_at, id=last.id)
        found = tx.incidents.find(past=past, order="updated_at", descending=True)
    assert [i.id for i in found] == ["INC-5", "INC-4", "INC-3", "INC-2", "INC-1"]


def test_a_place_whose_record_is_gone_goes_on_after_its_value(store: Store) -> None:
    with store.writing() as tx:
        tx.incidents.delete("INC-6")
        past = Place(value=NOW + timedelta(minutes=3), id="INC-6")
        found = tx.incidents.find(past=past, order="opened_at", descending=True, limit=1)
    assert [i.id for i in found] == ["INC-5"]


def test_an_order_that_may_be_unset_has_no_pages(store: Store) -> None:
    with store.reading() as tx, pytest.raises(ValueError, match="ordered by 'incident' has no pages"):
        tx.alerts.find(order="incident", past=Place(value="INC-1", id="a"))


@pytest.mark.parametrize("text", ["zahlung", "FÄLLT zahlung", "inc-4", "zahl aus"])
def test_search_finds_every_word_anywhere_in_any_case(store: Store, text: str) -> None:
    with store.reading() as tx:
        assert [i.id for i in tx.incidents.find(containing=text)] == ["INC-4"]
        assert tx.incidents.count(containing=text) == 1
        assert tx.incidents.find(containing=f"{text} checkout-9") == []


@pytest.mark.parametrize("text", ["%", "_", "' OR 1=1 --", "\\"])
def test_search_takes_every_sign_as_it_is(store: Store, text: str) -> None:
    with store.reading() as tx:
        assert tx.incidents.find(containing=text) == []


def test_an_incident_is_found_by_the_labels_of_its_alerts(store: Store) -> None:
    with store.writing() as tx:
        found = tx.incidents.get("INC-2")
        assert found is not None
        tx.incidents.put(remember_keywords(found, {"alertname": "DiskFull", "instance": "db-7"}))
        assert [i.id for i in tx.incidents.find(containing="diskfull db-7")] == ["INC-2"]


def test_what_has_no_search_text_cannot_be_searched(store: Store) -> None:
    with store.reading() as tx, pytest.raises(ValueError, match="reports cannot be searched; these can: alerts, inc"):
        tx.reports.find(containing="x")


def test_a_count_stops_where_it_is_told_to(store: Store) -> None:
    since = ("opened_at", NOW + timedelta(minutes=2))
    with store.reading() as tx:
        assert tx.incidents.count(at_most=3) == 3
        assert tx.incidents.count(at_most=100) == 7
        assert tx.incidents.count(after=since) == 5
        assert tx.incidents.count(before=since) == 5


def test_alerts_are_counted_by_service_name_and_status_with_the_latest(store: Store) -> None:
    with store.writing() as tx:
        tx.alerts.put_all(
            [alert("a"), alert("b", minutes=5), alert("c", status=AlertStatus.RESOLVED), alert("d", "Slow", minutes=1)]
        )
        by = ("service", "name", "status")
        found = tx.alerts.tally({"incident": "INC-1"}, by=by, latest="starts_at")
        assert sorted(found, key=lambda tally: tally.values) == [
            GroupCount(values=("checkout", "Errors", "firing"), count=2, latest=NOW + timedelta(minutes=5)),
            GroupCount(values=("checkout", "Errors", "resolved"), count=1, latest=NOW),
            GroupCount(values=("checkout", "Slow", "firing"), count=1, latest=NOW + timedelta(minutes=1)),
        ]
        assert tx.alerts.tally({"incident": "INC-2"}, by=by, latest="starts_at") == []
        found = tx.alerts.tally({"incident": "INC-1"}, by=("name",), latest="starts_at", containing="slow zone=eu-1")
        assert [tally.values for tally in found] == [("Slow",)]
        where = {"incident": "INC-1", "service": "checkout", "name": "Slow"}
        assert [a.id for a in tx.alerts.find(where)] == ["d"]


def test_the_timeline_is_read_from_its_end_in_parts(store: Store) -> None:
    with store.writing() as tx:
        for number in range(1, 8):
            tx.timeline.append(Event(incident="INC-1", at=NOW, kind="note", by="alice", text=str(number)))
            tx.timeline.append(Event(incident="INC-2", at=NOW, kind="note", by="alice", text="other"))
        last = tx.timeline.of("INC-1", limit=3)
        assert [entry.text for entry in last] == ["5", "6", "7"]
        assert [entry.text for entry in tx.timeline.of("INC-1", below=last[0].number, limit=3)] == ["2", "3", "4"]
        assert [entry.text for entry in tx.timeline.of("INC-1", below=2)] == ["1"]
        assert tx.timeline.of("INC-1", below=1, limit=3) == []
