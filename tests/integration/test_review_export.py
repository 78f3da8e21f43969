"""Action items become issues over real HTTP, each once: whoever refuses, is away, is slow, or dies after the POST."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.cli.check_live import check_tracker
from quell.adapters.store.sql import SqlStore
from quell.config.config import Config, Connections, Tracker
from quell.incidents.errors import Conflict, InvalidInput
from quell.incidents.review import Export
from quell.ports import Store
from tasks.review_round import review_round
from tests.issue_tracker import TOKEN, IssueTracker, issue_tracker
from tests.postmortem_room import Room

pytestmark = pytest.mark.integration
A1 = "INC-1/A1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[IssueTracker]:
    monkeypatch.setenv("TRACKER_TOKEN", TOKEN)
    with issue_tracker() as made:
        made.issues = {"shop/ops": [], "platform/backlog": []}
        yield made


def tracker(server: IssueTracker, kind: str = "github", **changes: object) -> Tracker:
    url = {"github": server.url, "gitlab": f"{server.url}/api/v4", "webhook": f"{server.url}/hooks/tickets"}[kind]
    settings = {"project": "shop/ops", "token": "env:TRACKER_TOKEN", "labels": ("post-mortem",), **changes}
    return Tracker(kind=kind, url=url, **settings)  # type: ignore[arg-type]


@pytest.fixture
def room(every_store: Store, tmp_path: Path, server: IssueTracker) -> Room:
    made = Room(every_store, tmp_path, tracker=tracker(server)).open()
    server.now = made.now
    return made


def export(room: Room, id: str = A1) -> Export:
    item = room.review.action(id)
    assert item is not None and item.export is not None
    return item.export


def test_an_item_becomes_a_github_issue_that_says_what_it_is_about(room: Room, server: IssueTracker) -> None:
    said = room.act("alice", "export", subject=A1)
    assert said == "INC-1/A1 is exported: https://github.example/shop/ops/issues/1"
    [issue] = server.issues["shop/ops"]
    assert issue["title"].startswith("Run `quell guard` with guards/checkout-timeout.yaml")
    assert issue["labels"] == ["post-mortem"]
    for told in (
        "Owner: Alice Moreau, team shop",
        "Due: 2026-12-07",
        "https://quell.example/incidents/INC-1/postmortem",
    ):
        assert told in issue["body"], told
    assert ("review action exported", "quell", "to github shop/ops: https://github.example/shop/ops/issues/1") in (
        room.entries()
    )
    assert "https://github.example/shop/ops/issues/1" in room.review.markdown
    with pytest.raises(Conflict, match=r"is https://github\.example/shop/ops/issues/1 already"):
        room.act("bob", "export", subject=A1)


def test_gitlab_gets_its_own_shape_with_the_date(room: Room, server: IssueTracker) -> None:
    room.tracker = tracker(server, "gitlab", projects={"platform": "platform/backlog"})
    room.act("alice", "add-action", text="Bound every timeout", owner="bob", due="2026-12-05")
    room.act("alice", "export", subject="INC-1/A3")
    [issue] = server.issues["platform/backlog"]
    assert (issue["due_date"], issue["labels"]) == ("2026-12-05", "post-mortem")
    assert export(room, "INC-1/A3").url == "https://gitlab.example/platform/backlog/-/issues/1"


def test_a_webhook_is_told_with_a_key_by_which_it_knows_a_message_again(room: Room, server: IssueTracker) -> None:
    room.tracker = tracker(server, "webhook", project="")
    room.act("alice", "export", subject=A1)
    [body] = server.posts()
    assert (body["kind"], body["id"], body["owner"], body["due"]) == ("action_item", A1, "alice", "2026-12-07")
    assert list(server.keys) == [body["idempotency_key"]]
    assert export(room).url == "https://tickets.example/1"


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_an_issue_whose_answer_never_came_is_found_and_not_made_again(
    room: Room, server: IssueTracker, kind: str
) -> None:
    """The tracker has made it, the connection hung: the next round looks among the latest before it makes one."""
    room.tracker = tracker(server, kind, timeout=timedelta(milliseconds=300))
    server.answers = ["made, then silent"]
    assert "did not answer within 0.3 s" in room.act("alice", "export", subject=A1)
    assert export(room).done_at is None and export(room).attempts == 1
    server.released.set()
    room.now += timedelta(minutes=3)
    [said] = [line for line in review_round(room.res) if "exported" in line]
    assert said.startswith("INC-1/A1 is exported: https://")
    assert len(server.issues["shop/ops"]) == 1 and len(server.posts()) == 1


@pytest.mark.parametrize("moment", ["GET, then silent", "POST, then silent", "made, then silent"])
def test_a_process_killed_at_any_moment_of_an_export_leaves_one_issue(
    store_url: str, tmp_path: Path, server: IssueTracker, moment: str
) -> None:
    """kill -9 while it looks, before the tracker has made the issue, and after: when nobody was told that it exists."""
    store = SqlStore(store_url)
    room = Room(store, tmp_path, tracker=tracker(server)).open()
    server.now, server.answers = room.now, [moment]
    command = [sys.executable, "-m", "tests.export_process", store_url, server.url]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ, "TRACKER_TOKEN": TOKEN})
    assert server.made.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    server.released.set()
    assert export(room).done_at is None
    room.now += timedelta(minutes=1)  # its lease has run out
    review_round(room.res)
    assert export(room).url == "https://github.example/shop/ops/issues/1"
    assert len(server.issues["shop/ops"]) == 1
    review_round(room.res)
    assert len(server.issues["shop/ops"]) == 1
    store.close()


def test_two_rounds_at_once_make_one_issue(room: Room, server: IssueTracker) -> None:
    server.answers = [503]
    room.act("alice", "export", subject=A1)
    room.now += timedelta(minutes=5)
    threads = [threading.Thread(target=review_round, args=(room.res,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.issues["shop/ops"]) == 1


def test_an_issue_is_found_behind_a_hundred_younger_ones(room: Room, server: IssueTracker) -> None:
    server.answers = ["made, then silent"]
    server.released.set()
    room.tracker = tracker(server)
    room.act("alice", "export", subject=A1)
    with room.store.writing() as tx:  # as if the process had died before it recorded that
        review = room.review
        item = review.action(A1)
        assert item is not None
        lost = replace(item, export=Export(wanted_at=room.now, wanted_by="alice"))
        tx.reviews.put(replace(review, action_items=(lost, *review.action_items[1:])))
    for number in range(230):
        url = f"https://github.example/x/{number}"
        server.issues["shop/ops"].append(
            {"body": None, "html_url": url, "created_at": f"{room.now:%Y-%m-%dT%H:%M:%SZ}"}
        )
    review_round(room.res)
    assert export(room).url == "https://github.example/shop/ops/issues/1" and len(server.posts()) == 1


@pytest.mark.parametrize(
    ("changes", "answers", "words"),
    [
        ({"project": "shop/gone"}, [], "github answers 404 to GET /repos/shop/gone/issues"),
        ({"token": "env:HOME"}, [], "github answers 401"),
        ({}, [500], "github answers 500 to POST"),
        ({"token": "env:NOT_SET_ANYWHERE"}, [], "environment variable NOT_SET_ANYWHERE is not set"),
        ({"url": "http://127.0.0.1:1"}, [], "github cannot be reached"),
    ],
)
def test_a_refusal_is_said_kept_and_tried_again_with_growing_pauses(
    room: Room, server: IssueTracker, changes: dict[str, str], answers: list[int | str], words: str
) -> None:
    settings = {"url": server.url, "project": "shop/ops", "token": "env:TRACKER_TOKEN", **changes}
    room.tracker = Tracker(kind="github", **settings)  # type: ignore[arg-type]
    server.answers = list(answers)
    said = room.act("alice", "export", subject=A1)
    assert words in said and words in export(room).problem
    assert TOKEN not in said + export(room).problem
    assert [line for line in review_round(room.res) if A1 in line] == []  # not yet
    room.tracker = tracker(server)
    room.now += timedelta(minutes=3)
    assert any("is exported" in line for line in review_round(room.res))


def test_quell_check_live_looks_whether_address_project_and_token_are_right(server: IssueTracker) -> None:
    config = Config(folder=Path(), connections=Connections(store="", prometheus=""))
    right = tracker(server, projects={"platform": "platform/backlog"})
    assert [(f.subject, f.is_ok) for f in check_tracker(replace(config, tracker=right))] == [
        ("platform/backlog", True), ("shop/ops", True),
    ]  # fmt: skip
    assert list(check_tracker(config)) == [] and server.posts() == []
    with pytest.raises(InvalidInput, match="github answers 404 to GET /repos/shop/gone/issues"):
        list(check_tracker(replace(config, tracker=tracker(server, project="shop/gone"))))


def test_an_answer_that_is_no_list_makes_no_issue(room: Room, server: IssueTracker) -> None:
    """A login page with status 200 must not pass for "there is no such issue yet"."""
    room.tracker = Tracker(kind="github", url=f"{server.url}/hooks", project="x/y", token="env:TRACKER_TOKEN")
    server.keys = {}
    assert "answers with no list of issues" in room.act("alice", "export", subject=A1)
    assert server.posts() == []


def test_without_a_tracker_the_item_stays_on_the_page(room: Room) -> None:
    room.tracker = None
    with pytest.raises(InvalidInput, match=r"write \[tracker\] into quell.toml"):
        room.act("alice", "export", subject=A1)


def test_words_of_an_item_mention_nobody_on_the_tracker(room: Room, server: IssueTracker) -> None:
    room.act("alice", "add-action", text="Ask @everyone about it", owner="bob", due="2026-12-05")
    room.act("alice", "export", subject="INC-1/A3")
    [issue] = server.issues["shop/ops"]
    assert "@everyone" not in issue["title"] + issue["body"]
