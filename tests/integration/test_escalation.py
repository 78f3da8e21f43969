"""A question that nobody answers is brought to others once, in time, and ends untouched if they stay silent too."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from quell.adapters.store.sql import SqlStore
from quell.incidents.maintenance import Weekly
from quell.incidents.mitigation import MitigationState
from quell.incidents.notification import NotificationKind, NotificationState
from quell.triage.notification_route import Notifying, PeopleMail, Receiver
from tasks.notifier import Notifier
from tasks.reconciliation import reconcile_all
from tests.approval_desk import Desk, open_desk

pytestmark = pytest.mark.integration


@dataclass
class Door:
    """A real HTTP receiver."""

    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            door.got.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:  # type: ignore[override]
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    door.port = server.server_port
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield door
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def desk(tmp_path: Path, door: Door) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        (tmp_path / "oncall.url").write_text(f"json://127.0.0.1:{door.port}/oncall")
        (tmp_path / "people.url").write_text(f"json://127.0.0.1:{door.port}/{{contact}}")
        notifying = Notifying(
            receivers={"leads": Receiver(name="leads", urls=(f"file:{tmp_path}/oncall.url",))},
            people=PeopleMail(url=f"file:{tmp_path}/people.url"),
        )
        desk.res = replace(desk.res, config=replace(desk.res.config, notifying=notifying))
        desk.policy(escalate_after=timedelta(minutes=5), escalate_to=("leads",))
        yield desk


def deliver(desk: Desk) -> None:
    notifier = Notifier(desk.res, fraction=lambda: 0.0)
    notifier.round()
    notifier.wait()


def test_nobody_is_disturbed_before_its_time(desk: Desk, door: Door) -> None:
    desk.ask()
    desk.clock.later(minutes=4, seconds=59)
    assert reconcile_all(desk.res) == []
    deliver(desk)
    assert door.got == []


def test_after_the_time_the_playbooks_receiver_is_told_and_the_timeline_says_so(desk: Desk, door: Door) -> None:
    desk.ask()
    desk.clock.later(minutes=5)
    (said,) = reconcile_all(desk.res)
    assert said == "MIT-1 is not decided after 5 min, open until 08:15:00 UTC: told to leads"
    assert f"approval escalated: {said}" in desk.told()
    deliver(desk)
    ((path, message),) = door.got
    assert path == "/oncall" and "Nobody answers: approve" in message["title"]
    assert "quell approve MIT-1" in message["message"]


def test_it_is_told_once_also_after_a_restart(desk: Desk, door: Door, tmp_path: Path) -> None:
    desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    desk.res = replace(desk.res, store=SqlStore(f"sqlite:///{tmp_path}/record.db"))  # a new process
    for _ in range(3):
        desk.clock.later(seconds=15)
        reconcile_all(desk.res)
        deliver(desk)
    assert len(door.got) == 1 and sum(line.startswith("approval escalated") for line in desk.told()) == 1
    desk.res.store.close()


def test_persons_and_roles_are_told_at_their_own_address(desk: Desk, door: Door) -> None:
    desk.policy(escalate_to=("alice", "analyst"))
    desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    deliver(desk)
    assert sorted(path for path, _ in door.got) == ["/alice@shop.example", "/carol@shop.example"]


def test_quiet_hours_do_not_keep_it(desk: Desk, door: Door) -> None:
    notifying, clock = desk.res.config.notifying, desk.clock.now
    quiet = Weekly(days=tuple(range(7)), start=clock.time(), end=(clock + timedelta(hours=8)).time())
    receivers = {"leads": replace(notifying.receivers["leads"], quiet_hours=quiet)}
    quietly = replace(desk.res.config, notifying=replace(notifying, receivers=receivers))
    desk.res = replace(desk.res, config=quietly)
    desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    deliver(desk)
    assert len(door.got) == 1


def test_who_has_answered_spares_the_others(desk: Desk, door: Door) -> None:
    asked = desk.ask()
    desk.answer(asked, "alice", "refuse")
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    deliver(desk)
    assert door.got == [] and desk.mitigation().escalated_at is None


def test_one_of_two_is_no_answer_and_the_others_learn_who_is_missing(desk: Desk, door: Door) -> None:
    desk.policy(approvers=2)
    desk.answer(desk.ask(), "alice")
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    deliver(desk)
    assert "1 of 2 approvals (alice), waiting for another person" in door.got[0][1]["message"]


def test_an_answer_before_it_was_sent_makes_it_needless(desk: Desk, door: Door) -> None:
    asked = desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    desk.answer(asked, "alice")
    deliver(desk)
    with desk.res.store.reading() as tx:
        (kept,) = tx.notifications.find({"kind": NotificationKind.ESCALATION})
    assert door.got == [] and kept.state is NotificationState.OBSOLETE


def test_at_the_deadline_it_expires_untouched(desk: Desk, door: Door) -> None:
    desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    desk.clock.later(minutes=10, seconds=1)
    reconcile_all(desk.res)
    assert desk.mitigation().state is MitigationState.EXPIRED and not desk.is_drained


def test_a_receiver_that_is_gone_is_said_on_the_timeline(desk: Desk, door: Door) -> None:
    desk.policy(escalate_to=("nobody-knows",))
    desk.ask()
    desk.clock.later(minutes=5)
    reconcile_all(desk.res)
    assert any("nobody-knows cannot be reached" in line for line in desk.told())
