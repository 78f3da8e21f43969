"""A repository whose branch counts at a remote: fetched before it is read, pushed before anything changes here."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from quell.adapters.git import GitRepository
from quell.adapters.git_remote import may_push
from quell.incidents.errors import Conflict, NotFound, Refused, Unavailable
from tests.git_shop import BAD, FILE, GOOD, RemoteShop, make_remote_shop, save

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(tmp_path: Path) -> RemoteShop:
    return make_remote_shop(tmp_path)


def repository_of(shop: RemoteShop) -> GitRepository:
    return GitRepository(shop.folder, timeout=timedelta(seconds=5), remote="origin")


def undo(repository: GitRepository, commit: str) -> str:
    with repository.work_tree("quell/fix-1", start="main") as tree:
        tree.undo_commit(commit, FILE)
        return tree.commit("Undo a change\n\nFix: FIX-1\n")


def test_what_colleagues_pushed_is_here_before_the_branch_is_read(shop: RemoteShop) -> None:
    pushed = shop.colleague_pushes(GOOD + "workers: 4\n", "more workers")
    repository = repository_of(shop)
    repository.catch_up("main")
    assert repository.head("main") == pushed and "workers: 4" in (shop.folder / FILE).read_text()


def test_a_merge_is_at_the_remote_and_here(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    fix = undo(repository, shop.bad)
    assert repository.merge("quell/fix-1", into="main") == fix
    assert shop.remote_head() == fix and (shop.folder / FILE).read_text() == GOOD


def test_a_remote_that_has_moved_on_is_built_upon_and_never_overwritten(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    undo(repository, shop.bad)
    pushed = shop.colleague_pushes("other: 1\n", "another file", file="services/other.yaml")
    with pytest.raises(Conflict, match="main has moved on at origin"):
        repository.merge("quell/fix-1", into="main")
    assert shop.remote_head() == pushed and repository.head("main") == shop.bad, "nothing is changed anywhere"
    repository.catch_up("main")
    fix = undo(repository, shop.bad)
    assert repository.merge("quell/fix-1", into="main") == fix == shop.remote_head()


def test_nothing_is_pushed_that_could_not_be_brought_forward_here(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    undo(repository, shop.bad)
    (shop.folder / FILE).write_text(BAD + "# somebody tries something\n")
    with pytest.raises(Conflict, match=f"{FILE} has changes that are not committed"):
        repository.merge("quell/fix-1", into="main")
    assert shop.remote_head() == shop.bad


def test_what_a_remote_refuses_is_told_in_its_own_words_and_changes_nothing(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    undo(repository, shop.bad)
    shop.protect("main is protected: open a request")
    with pytest.raises(Refused, match=r"origin refuses a push to main: .*main is protected: open a request"):
        repository.merge("quell/fix-1", into="main")
    assert shop.remote_head() == shop.bad == repository.head("main")
    assert repository.publish("quell/fix-1")
    assert shop.remote_head("quell/fix-1") == repository.head("quell/fix-1")


def test_a_commit_that_is_only_here_is_not_published_with_a_fix(shop: RemoteShop) -> None:
    save(shop.folder, BAD + "secret: 1\n", "not for others yet")
    with pytest.raises(Unavailable, match="has a commit that origin has not: push, or take back"):
        repository_of(shop).catch_up("main")


def test_uncommitted_work_in_the_way_of_what_others_pushed_stays(shop: RemoteShop) -> None:
    shop.colleague_pushes(GOOD, "mended by hand")
    (shop.folder / FILE).write_text("half done\n")
    with pytest.raises(Unavailable, match="cannot be brought forward"):
        repository_of(shop).catch_up("main")
    assert (shop.folder / FILE).read_text() == "half done\n"


def test_a_remote_that_is_away_for_a_moment_is_tried_again(shop: RemoteShop) -> None:
    """The first two times it is asked it fails, as a server does that is restarted."""
    script = shop.bare.with_name("unsteady.sh")
    asked = f'echo x >> "{script}.asked"\n[ $(wc -l < "{script}.asked") -le 2 ] && exit 1'
    script.write_text(f'#!/bin/sh\n{asked}\nexec git-upload-pack "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    shop.git("config", "remote.origin.uploadpack", str(script))
    pushed = shop.colleague_pushes(GOOD, "mended")
    repository_of(shop).catch_up("main")
    assert repository_of(shop).head("main") == pushed
    assert len(Path(f"{script}.asked").read_text().split()) == 3


def test_a_remote_that_is_away_is_named(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    undo(repository, shop.bad)
    shop.bare.rename(shop.bare.with_name("gone"))
    for reach in (lambda: repository.catch_up("main"), lambda: repository.merge("quell/fix-1", into="main")):
        with pytest.raises(Unavailable, match=r"origin of .* cannot be reached"):
            reach()
    assert not repository.publish("quell/fix-1")
    assert repository.head("main") == shop.bad


def test_a_branch_that_the_remote_has_not_is_named(shop: RemoteShop) -> None:
    shop.git("branch", "release")
    with pytest.raises(NotFound, match=r"has no branch release: push it there, or correct repository\.branch"):
        repository_of(shop).catch_up("release")


def test_whether_quell_may_write_is_asked_without_a_change(shop: RemoteShop) -> None:
    repository = repository_of(shop)
    pushed = shop.colleague_pushes(GOOD, "mended")
    assert repository.fetch("main") == pushed
    may_push(repository, "origin", "main")
    assert repository.head("main") == shop.bad and shop.remote_head() == pushed
    shop.git("config", "remote.origin.receivepack", "false")  # an account that may only read
    with pytest.raises(Unavailable, match="cannot be reached"):
        may_push(repository, "origin", "main")
