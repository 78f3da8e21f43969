"""Notifications against a real HTTP receiver that fails, hangs and recovers: nothing is lost, nothing is said twice."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections
from quell.incidents.inbox import InboxItem, InboxKind
from quell.incidents.incident import IncidentState, Severity, move_incident
from quell.incidents.maintenance import Weekly
from quell.incidents.matcher import parse_matchers
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationId, MitigationState, Plan, plan_hash
from quell.incidents.notification import Notification, NotificationKind, NotificationState
from quell.incidents.service import Catalog, Instance, Service
from quell.incidents.timeline import Event, event_of
from quell.response.playbook import NotificationRule, Playbook
from quell.triage.notification_route import Notifying, Receiver, ReporterMail, Route, Storm
from tasks.intake import drain_inbox
from tasks.notifier import Notifier
from tasks.notify import queue_due
from tasks.outbox import receivers_with_work, record, take
from tasks.record import move
from tasks.resources import Resources
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "deployments" / "config.example"
T0 = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "T0KEN4711"
SHOP = Catalog(
    services={
        "storefront": Service(
            name="storefront", team="shop", owner="alice", is_user_facing=True, depends_on=("checkout",)
        ),
        "checkout": Service(
            name="checkout",
            team="shop",
            owner="bob",
            instances=(Instance(name="checkout-2", service="checkout"),),
            links={"logs": "https://logs.example/?q=service%3D{service}%20{instance}&from={from}"},
        ),
    }
)


@dataclass
class Door:
    """A receiver; `answers` are used up one after the other, then all is well. "hang" answers after `released`."""

    got: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def titles(self) -> list[str]:
        return [got["title"] for got in self.got]


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that the base class calls
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = found.answers.pop(0) if found.answers else 200
            if answer == "hang":
                found.released.wait(20)
                answer = 503
            if answer == 200:
                found.got.append(body)
                found.paths.append(self.path)
            with suppress(OSError):  # the sender has gone away
                self.send_response(int(answer))
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Outbox:
    """A store, a clock that the test moves, and a notifier."""

    store: SqlStore
    config: Config
    now: datetime = T0

    @property
    def res(self) -> Resources:
        return Resources(
            config=self.config,
            store=self.store,
            metrics=None,  # type: ignore[arg-type]  # nothing here asks for metrics
            actuators={},
            clock=lambda: self.now,
        )

    def send(self, payload: dict[str, Any], kind: InboxKind = InboxKind.ALERT) -> None:
        id = payload.get("id") or f"{kind}-{json.dumps(payload, sort_keys=True)}"
        self.store.receive([InboxItem(id=id, kind=kind, source="test", payload=payload, received_at=self.now)])
        drain_inbox(self.res)

    def alert(self, service: str = "checkout", name: str = "Errors", severity: str = "major", **more: str) -> None:
        labels = {"alertname": name, "service": service, "severity": severity, **more}
        notes = {"summary": "61 % of requests fail"}
        self.send({"labels": labels, "annotations": notes, "startsAt": self.now.isoformat()})

    def round(self, after: timedelta = timedelta(0)) -> None:
        """Move the clock and let the notifier look once."""
        self.now += after
        notifier = Notifier(self.res, fraction=lambda: 1.0)
        notifier.round()
        notifier.wait()

    def all(self, **where: object) -> list[Notification]:
        with self.store.reading() as tx:
            return tx.notifications.find(where)

    def end(self, incident: str = "INC-1") -> None:
        with self.store.writing() as tx:
            known = tx.incidents.get(incident)
            assert known is not None
            ended, step = move_incident(known, IncidentState.RESOLVED, now=self.now, by="quell", why="quiet")
            tx.incidents.put(ended)
            tx.timeline.append(event_of(step))


@pytest.fixture
def outbox(door: Door, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    monkeypatch.setenv("CHAT", f"json://bob:{SECRET}@127.0.0.1:{door.port}/{SECRET}")
    monkeypatch.setenv("MAIL", f"json://127.0.0.1:{door.port}/mail?+X-To={{contact}}&:to={{contact}}")
    receiver = Receiver(name="chat", urls=("env:CHAT",), timeout=timedelta(seconds=1))
    config = Config(
        folder=tmp_path,
        connections=Connections(store="", prometheus="", public_url="https://quell.example"),
        catalog=SHOP,
        notifying=Notifying(
            receivers={"chat": receiver},
            routes=(Route(receivers=("chat",)),),
            reporters=ReporterMail(url="env:MAIL"),
            links={"dashboard": "https://grafana.example/d/x?var={service}&from={from_ms}"},
        ),
    )
    store = SqlStore(store_url)
    yield Outbox(store, config)
    store.close()


def with_receiver(outbox: Outbox, **changes: Any) -> None:
    notifying = outbox.config.notifying
    receiver = replace(notifying.receivers["chat"], **changes)
    outbox.config = replace(outbox.config, notifying=replace(notifying, receivers={"chat": receiver}))


LATER = timedelta(seconds=4)


def test_an_opening_says_what_is_wrong_and_whom_to_ask(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    [got] = door.got
    assert got["title"].startswith("MAJOR ") and got["title"].endswith("(INC-1)") and len(got["title"]) <= 80
    text = got["message"]
    for part in (
        "Users:",
        "Since: 12:00:00 UTC (for 4 s)",
        "How bad: major, 1 alert",
        "Suspect: checkout-2",
        "Owner: bob, team shop",
    ):
        assert part in text
    assert "https://quell.example/incidents/INC-1" in text
    assert "https://logs.example/?q=service%3Dcheckout%20checkout-2&from=2026-11-23T11%3A45%3A00Z" in text
    assert "https://grafana.example/d/x?var=checkout&from=1795434300000" in text


def test_redelivery_restart_and_a_second_responder_say_nothing_twice(outbox: Outbox, door: Door) -> None:
    for _ in range(20):
        outbox.alert(instance="checkout-2")
        outbox.round(timedelta(seconds=1))
    with outbox.store.writing() as tx:  # a responder that lost its place reads the timeline from the beginning
        tx.documents.delete("notify:cursor")
    outbox.round(LATER)
    assert len(door.got) == 1


def test_two_responders_at_once_send_once(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    outbox.now += LATER
    notifiers = [Notifier(outbox.res) for _ in range(4)]
    threads = [threading.Thread(target=notifier.round) for notifier in notifiers]
    for thread in threads:
        thread.start()
    for thread, notifier in zip(threads, notifiers, strict=True):
        thread.join()
        notifier.wait()
    assert len(door.got) == 1


def test_a_receiver_that_fails_and_recovers_gets_it_late_and_once(outbox: Outbox, door: Door) -> None:
    door.answers = [500, 500, 429]
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    outbox.round(timedelta(seconds=4))  # too early: the pause is 5 s
    assert door.got == [] and outbox.all(kind=NotificationKind.OPENED)[0].attempts == 1
    for pause in (5, 10, 20):
        outbox.round(timedelta(seconds=pause))
    [sent] = outbox.all(kind=NotificationKind.OPENED)
    assert (sent.state, sent.attempts, len(sent.errors), len(door.got)) == (NotificationState.SENT, 4, 3, 1)
    assert "attempt 1: env:CHAT was not reached" in sent.errors[0] and "error=500" in sent.errors[0]


def test_no_secret_of_an_address_reaches_record_timeline_or_log(
    outbox: Outbox, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    with_receiver(outbox, give_up_after=timedelta(seconds=1))
    door.answers = [500, 401]
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    outbox.round(timedelta(seconds=30))
    with outbox.store.reading() as tx:
        said = repr(tx.notifications.find()) + repr(tx.timeline.entries()) + caplog.text
    assert "given up" in said and SECRET not in said and SECRET.lower() not in said


def test_giving_up_is_loud(outbox: Outbox, door: Door) -> None:
    with_receiver(outbox, give_up_after=timedelta(seconds=20))
    door.answers = [500] * 9
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    for _ in range(4):
        outbox.round(timedelta(seconds=30))
    [failed] = outbox.all(kind=NotificationKind.OPENED)
    assert failed.state is NotificationState.FAILED
    with outbox.store.reading() as tx:
        [entry] = [e for e in tx.timeline.of("INC-1") if e.kind == "notification failed"]
    assert "opened for chat is given up after" in entry.text


def test_a_receiver_that_hangs_delays_nobody_else(outbox: Outbox, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    notifying = outbox.config.notifying
    monkeypatch.setenv("OTHER", f"json://127.0.0.1:{door.port}/other")
    slow = replace(notifying.receivers["chat"], timeout=timedelta(seconds=5))
    other = Receiver(name="other", urls=("env:OTHER",), timeout=timedelta(seconds=5))
    routes = (Route(receivers=("chat",), goes_on=True), Route(receivers=("other",)))
    notifying = replace(notifying, receivers={"chat": slow, "other": other}, routes=routes)
    outbox.config = replace(outbox.config, notifying=notifying)
    door.answers = ["hang"]
    outbox.alert(instance="checkout-2")
    outbox.now += LATER
    notifier = Notifier(outbox.res)
    notifier.round()  # returns at once, although one receiver hangs
    for _ in range(200):
        if door.got:
            break
        threading.Event().wait(0.02)
    assert len(door.got) == 1
    door.released.set()
    notifier.wait()
    assert {n.state for n in outbox.all(kind=NotificationKind.OPENED)} == {
        NotificationState.SENT,
        NotificationState.QUEUED,
    }


def test_whoever_dies_between_sending_and_recording_is_followed_by_another(outbox: Outbox, door: Door) -> None:
    """The stated window: at least once, twice where the sender died before it could record."""
    outbox.alert(instance="checkout-2")
    outbox.now += LATER
    queue_due(outbox.res)
    lost = take(outbox.res, "chat", "a process that dies here")
    assert lost is not None
    outbox.round()
    assert door.got == []  # it is in its hands
    outbox.round(timedelta(minutes=1))
    assert len(door.got) == 1 and outbox.all(kind=NotificationKind.OPENED)[0].state is NotificationState.SENT
    # the dead one was only slow: what it has to say comes too late and changes nothing
    assert record(outbox.res, lost, reached=(), errors=["too late"], fraction=0.5) is None


def test_a_retry_asks_only_the_addresses_that_do_not_have_it(
    outbox: Outbox, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", f"json://127.0.0.1:{door.port}/other")
    with_receiver(outbox, urls=("env:CHAT", "env:OTHER"))
    door.answers = [200, 500]
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    outbox.round(timedelta(seconds=6))
    assert door.paths == [f"/{SECRET}", "/other"]


def test_resolution_and_reopening_are_told_to_those_who_heard_of_the_beginning(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    outbox.end()
    outbox.round(LATER)
    outbox.alert(instance="checkout-2")  # inside the reopen window
    outbox.round(LATER)
    assert [title.split()[0] for title in door.titles] == ["MAJOR", "Resolved:", "MAJOR"]
    assert "Back:" in door.titles[2]


def test_a_severity_is_told_when_it_changes_and_only_then(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2", severity="minor")
    outbox.round(LATER)
    outbox.alert(instance="checkout-2", name="Worse", severity="critical")
    outbox.round(LATER)
    assert [title.split()[0] for title in door.titles] == ["minor", "CRITICAL"]


def test_what_nobody_could_act_on_is_held_counted_and_sent_once_somebody_can(outbox: Outbox, door: Door) -> None:
    outbox.alert(service="nowhere", name="Odd", severity="minor")
    with outbox.store.writing() as tx:  # triage finds nobody to suspect
        incident = tx.incidents.get("INC-1")
        assert incident is not None
        tx.incidents.put(replace(incident, suspects=()))
    outbox.round(LATER)
    [held] = outbox.all(kind=NotificationKind.OPENED)
    assert door.got == [] and held.state is NotificationState.HELD and held.due_at is None
    assert held.reason == (
        "nobody could act on it: no users are seen to suffer, and no suspect, no proposal and no runbook is known"
    )
    outbox.now += timedelta(minutes=1)
    notes = {"summary": "odd", "runbook_url": "https://runbooks.example/odd"}
    labels = {"alertname": "Odd", "service": "nowhere", "instance": "b"}
    outbox.send({"labels": labels, "annotations": notes, "startsAt": outbox.now.isoformat()})
    outbox.round(LATER)
    assert len(door.got) == 1 and "https://runbooks.example/odd" in door.got[0]["message"]


def test_quiet_hours_hold_all_but_the_critical_and_end_in_one_digest(outbox: Outbox, door: Door) -> None:
    with_receiver(outbox, quiet_hours=Weekly(days=tuple(range(7)), start=time(11), end=time(13)), only_actionable=False)
    outbox.alert(service="north", name="A")
    outbox.alert(service="south", name="B")
    outbox.alert(service="storefront", name="C", severity="critical")
    outbox.round(LATER)
    assert [title.split()[0] for title in door.titles] == ["CRITICAL"]
    outbox.end("INC-1")
    outbox.round()
    outbox.round(timedelta(hours=1))
    assert len(door.got) == 2 and door.titles[1].startswith("2 notifications: quiet hours are over")
    assert "INC-1 major" in door.got[1]["message"] and "now resolved" in door.got[1]["message"]
    assert {n.state for n in outbox.all()} == {NotificationState.SENT, NotificationState.DIGESTED}


def test_a_storm_becomes_a_few_messages_and_one_digest(outbox: Outbox, door: Door) -> None:
    with_receiver(outbox, storm=Storm(more_than=3, within=timedelta(minutes=1)), only_actionable=False)
    for number in range(40):
        outbox.alert(service=f"service-{number}", name=f"Alert{number}")
    outbox.round(LATER)
    assert len(door.got) == 3
    outbox.round(timedelta(minutes=1))
    assert len(door.got) == 4 and door.titles[3] == "37 notifications: a storm"
    with outbox.store.reading() as tx:
        assert tx.notifications.count({"state": NotificationState.DIGESTED}) == 37


def waiting_plan(outbox: Outbox) -> Mitigation:
    radius = BlastRadius(service="checkout", instances=("checkout-2",), capacity_share=0.33, capacity_left=0.67)
    plan = Plan(
        playbook="isolate", incident="INC-1", target="checkout-2", steps=(), undo=(), blast_radius=radius, evidence=(),
        needs_approval=True, approval_reason="above 25 %", expires_after=timedelta(hours=1),
    )  # fmt: skip
    planned = Mitigation(
        id=MitigationId("MIT-1"), state=MitigationState.PLANNED, plan=plan, plan_hash=plan_hash(plan), incident="INC-1",
        playbook="isolate", service="checkout", target="checkout-2", requested_by="quell", created_at=outbox.now,
        updated_at=outbox.now, approval_deadline=outbox.now + timedelta(minutes=15),
    )  # fmt: skip
    with outbox.store.writing() as tx:
        tx.mitigations.put(planned)
        return move(tx, planned, MitigationState.AWAITING_APPROVAL, now=outbox.now, by="quell", why="33 % above 25 %")


def test_an_approval_is_asked_for_unless_it_was_given_meanwhile(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    mitigation = waiting_plan(outbox)
    outbox.round(timedelta(seconds=1))
    assert door.titles[1].startswith("MAJOR Approve") and "quell approve MIT-1" in door.got[1]["message"]
    with outbox.store.writing() as tx:
        move(tx, mitigation, MitigationState.REFUSED, now=outbox.now, by="alice", why="no")
        tx.documents.delete("notify:cursor")
        for known in tx.notifications.find({"kind": NotificationKind.APPROVAL}):
            tx.notifications.delete(known.id)
    outbox.round(timedelta(seconds=1))
    assert len(door.got) == 2
    [late] = outbox.all(kind=NotificationKind.APPROVAL)
    assert late.state is NotificationState.OBSOLETE and "answered before" in late.reason


def with_playbook(outbox: Outbox, door: Door, rule: NotificationRule, monkeypatch: pytest.MonkeyPatch) -> None:
    """The playbook of the waiting plan, and a second receiver that no route names."""
    monkeypatch.setenv("TEAM", f"json://127.0.0.1:{door.port}/team")
    notifying = outbox.config.notifying
    team = Receiver(name="team", urls=("env:TEAM",), timeout=timedelta(seconds=1))
    book = Playbook(
        name="isolate", description="", owner="bob", matchers=(), target_kind="instance", steps=(), notification=rule
    )
    outbox.config = replace(
        outbox.config,
        playbooks={book.name: book},
        notifying=replace(notifying, receivers={**notifying.receivers, "team": team}),
    )


def live_through(outbox: Outbox) -> None:
    """The plan waits, is approved, done, judged and put back."""
    mitigation = waiting_plan(outbox)
    outbox.round(timedelta(seconds=1))
    for state, why in (
        (MitigationState.APPLYING, "alice approved"),
        (MitigationState.APPLIED, "every step is done"),
        (MitigationState.INEFFECTIVE, "users were not helped"),
        (MitigationState.UNDOING, "it was ineffective"),
        (MitigationState.UNDONE, "checkout-2 serves again"),
    ):
        with outbox.store.writing() as tx:
            mitigation = move(tx, mitigation, state, now=outbox.now, by="quell", why=why)
        outbox.round(timedelta(seconds=1))


def told_at(door: Door, path: str) -> list[str]:
    both = zip(door.got, door.paths, strict=True)
    return [got["title"].removesuffix(" (INC-1)") for got, where in both if urlsplit(where).path.startswith(path)]


def test_a_playbook_says_who_hears_what_became_of_its_mitigations(
    outbox: Outbox, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the routes, never instead of them: who is on call still hears of the approval."""
    kinds = (NotificationKind.APPROVAL, NotificationKind.APPLIED, NotificationKind.UNDONE)
    with_playbook(outbox, door, NotificationRule(to=("team",), kinds=kinds), monkeypatch)
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    live_through(outbox)
    asked, *after = told_at(door, "/team")
    assert asked.startswith("MAJOR Approve ")
    assert [title.split(":")[0] for title in after] == ["MAJOR Applied", "MAJOR Undone"]
    chat = told_at(door, f"/{SECRET}")
    assert len(chat) == 2 and chat[1].startswith("MAJOR Approve ")
    [undone] = [got for got in door.got if "Undone" in got["title"]]
    assert "Now: MIT-1 is undone: checkout-2 serves again" in undone["message"]


def test_without_a_name_the_routes_hear_of_the_kinds_that_the_playbook_asks_for(
    outbox: Outbox, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_playbook(outbox, door, NotificationRule(kinds=(NotificationKind.INEFFECTIVE,)), monkeypatch)
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    live_through(outbox)
    assert told_at(door, "/team") == []
    assert [" ".join(title.split()[1:5]) for title in told_at(door, f"/{SECRET}")][2:] == ["It did not help:"]


def test_a_playbook_that_says_nothing_is_told_as_ever(
    outbox: Outbox, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_playbook(outbox, door, NotificationRule(), monkeypatch)
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    live_through(outbox)
    assert {n.kind for n in outbox.all()} == {NotificationKind.OPENED, NotificationKind.APPROVAL}
    assert len(door.got) == 2


def test_stopped_sweeps_are_told_at_night_too(outbox: Outbox, door: Door) -> None:
    with_receiver(outbox, quiet_hours=Weekly(days=tuple(range(7)), start=time(11), end=time(13)))
    outbox.alert(service="quell", name="SweepsStopped", severity="critical")
    outbox.round(LATER)
    assert "Quell is blind:" in door.titles[0] and "docs/runbooks/sweeps.md" in door.got[0]["message"]


def test_an_undo_that_failed_is_told_at_night_too(outbox: Outbox, door: Door) -> None:
    with_receiver(outbox, quiet_hours=Weekly(days=tuple(range(7)), start=time(11), end=time(13)))
    outbox.alert(instance="checkout-2")
    with outbox.store.writing() as tx:
        text = "server is still in maintenance"
        tx.timeline.append(
            Event(incident="INC-1", at=T0, kind="mitigation undo failed", by="quell", text=text, subject="MIT-1")
        )
    outbox.round(LATER)
    assert [title for title in door.titles if "UNDO FAILED" in title] == door.titles != []


def test_routes_choose_by_team_and_severity(outbox: Outbox, door: Door) -> None:
    routes = (Route(receivers=("chat",), matchers=parse_matchers('team="shop", severity!="minor"')),)
    outbox.config = replace(outbox.config, notifying=replace(outbox.config.notifying, routes=routes))
    outbox.alert(service="elsewhere")
    outbox.round(LATER)
    assert outbox.all() == [] and door.got == []
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    assert len(door.got) == 1


def test_authors_who_agreed_are_told_when_it_is_over_and_their_address_is_deleted(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    body = {"service": "checkout", "contact": "eve@example.org"}
    outbox.send({**body, "id": "r1", "text": "cannot pay", "consent": True}, InboxKind.REPORT)
    outbox.send({**body, "id": "r2", "text": "still broken", "consent": True}, InboxKind.REPORT)  # same address
    outbox.send({"id": "r3", "text": "fails", "service": "checkout", "contact": "no@example.org"}, InboxKind.REPORT)
    outbox.send({"id": "r4", "text": "error", "contact": "json://10.0.0.1/x", "consent": True}, InboxKind.REPORT)
    outbox.round(LATER)
    outbox.end()
    outbox.round(LATER)
    told = [got for got, path in zip(door.got, door.paths, strict=True) if urlsplit(path).path.startswith("/mail")]
    assert [got["to"] for got in told] == ["eve@example.org"]
    assert "cannot pay" not in json.dumps(told)
    with outbox.store.reading() as tx:
        everything = repr(tx.documents.find()) + repr(tx.reports.find()) + repr(tx.timeline.entries())
        everything += repr(tx.inbox.find()) + repr(tx.notifications.find())
    assert "example.org" not in everything


def test_nothing_is_read_while_nobody_is_to_be_told(outbox: Outbox, door: Door) -> None:
    outbox.config = replace(outbox.config, notifying=Notifying())
    outbox.alert(instance="checkout-2")
    outbox.round(LATER)
    assert outbox.all() == [] and receivers_with_work(outbox.res) == []


def test_what_ended_while_nobody_listened_is_not_announced_later(outbox: Outbox, door: Door) -> None:
    outbox.alert(instance="checkout-2")
    outbox.end()
    outbox.alert(service="storefront", name="Still", severity="critical")
    outbox.round(timedelta(hours=3))
    assert [n.incident for n in outbox.all()] == ["INC-2"] and outbox.all(kind=NotificationKind.OPENED)[
        0
    ].severity is Severity.CRITICAL


_SENDER = """
import sys
from datetime import UTC, datetime
from dataclasses import replace
from pathlib import Path
from quell.config.load import load_config
from tasks.notifier import Notifier
from tasks.resources import open_resources
res = replace(open_resources(load_config(Path(sys.argv[1]))), clock=lambda: datetime.fromisoformat(sys.argv[2]))
notifier = Notifier(res)
notifier.round()
notifier.wait()
"""


def test_a_sender_killed_in_the_middle_loses_nothing(
    outbox: Outbox, door: Door, tmp_path: Path, store_url: str
) -> None:
    """kill -9 while the receiver has the message and has not answered: another process sends it after the lease."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "config"))
    toml = (folder / "quell.toml").read_text().replace("sqlite:///.quell/sandbox/quell.db", store_url)
    (folder / "quell.toml").write_text(toml)
    chat = "receivers: {chat: {urls: ['env:CHAT'], timeout: 10s}}\nroutes: [{receivers: [chat]}]\n"
    (folder / "notifications.yaml").write_text(chat)
    outbox.alert(instance="checkout-2")
    door.answers = ["hang"]
    outbox.now += LATER
    sender = subprocess.Popen([sys.executable, "-c", _SENDER, str(folder), outbox.now.isoformat()])
    wait_until("the receiver has the message", lambda: not door.answers, within=60)
    sender.kill()
    sender.wait(10)
    assert door.answers == [] and outbox.all()[0].state is NotificationState.SENDING
    outbox.round(timedelta(seconds=30))
    assert door.got == []  # the lease of the dead one runs: twice the time limit and half a minute
    outbox.round(timedelta(seconds=30))
    assert len(door.got) == 1 and outbox.all()[0].state is NotificationState.SENT
