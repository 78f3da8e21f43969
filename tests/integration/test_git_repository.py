"""A repository of configuration, through the real git program."""

from pathlib import Path

import pytest

from quell.adapters.git import GitRepository, Standing
from quell.incidents.errors import Conflict, InvalidInput, NotFound
from tests.git_shop import BAD, FILE, GOOD, git, save

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "-b", "main", "shop")
    save(tmp_path / "shop", GOOD, "checkout-2: first")
    return tmp_path / "shop"


def undo(repository: GitRepository, commit: str) -> str:
    with repository.work_tree("quell/fix-1", start="main") as tree:
        tree.undo_commit(commit, FILE)
        tree.write("guards/checkout.yaml", "name: checkout\n")
        return tree.commit("Undo a change\n\nIncident: INC-1\nFix: FIX-1\n")


def test_a_commit_tells_author_time_subject_and_files(folder: Path) -> None:
    bad = save(folder, BAD, "checkout-2: fail faster")
    repository = GitRepository(folder)
    commit = repository.commit(bad[:10])
    assert (commit.id, commit.author, commit.subject) == (bad, "dana", "checkout-2: fail faster")
    assert repository.files_of(bad) == (FILE,)
    assert "+payment_timeout_ms: 5" in repository.diff(bad, FILE)
    assert repository.content(bad, FILE) == BAD and repository.content(bad, "no/such/file") is None


def test_the_undo_of_a_commit_reaches_the_branch_and_the_files_only_when_merged(folder: Path) -> None:
    bad = save(folder, BAD, "checkout-2: fail faster")
    repository = GitRepository(folder)
    fix = undo(repository, bad)
    assert repository.head("main") == bad and (folder / FILE).read_text() == BAD
    assert repository.merge("quell/fix-1", into="main") == fix
    assert (folder / FILE).read_text() == GOOD and (folder / "guards/checkout.yaml").exists()
    assert repository.commit(fix).author == "Quell"
    assert git(folder, "status", "--porcelain") == "" and len(git(folder, "worktree", "list").splitlines()) == 1


def test_standing_follows_the_file_not_only_the_history(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    repository = GitRepository(folder)
    assert repository.standing(bad, FILE, "main") is Standing.IN_FORCE
    save(folder, BAD + "workers: 4\n", "unrelated")
    assert repository.standing(bad, FILE, "main") is Standing.CHANGED_SINCE
    save(folder, GOOD, "mended by hand")
    assert repository.standing(bad, FILE, "main") is Standing.NOT_IN_FORCE


def test_a_later_change_of_other_lines_survives_the_undo(folder: Path) -> None:
    """A revert of the whole file would throw away work that people did after the bad commit."""
    bad = save(folder, BAD, "bad")
    save(folder, BAD + "".join(f"key{i}: {i}\n" for i in range(9)) + "workers: 4\n", "unrelated")
    repository = GitRepository(folder)
    undo(repository, bad)
    repository.merge("quell/fix-1", into="main")
    mended = (folder / FILE).read_text()
    assert "payment_timeout_ms: 800" in mended and "workers: 4" in mended


def test_a_conflict_leaves_branch_files_and_worktrees_untouched(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    later = save(folder, BAD.replace(": 5", ": 7"), "somebody tries another value")
    repository = GitRepository(folder)
    with pytest.raises(Conflict, match="later commits changed the same lines"):
        undo(repository, bad)
    assert repository.head("main") == later and ": 7" in (folder / FILE).read_text()
    assert git(folder, "status", "--porcelain") == "" and len(git(folder, "worktree", "list").splitlines()) == 1


def test_uncommitted_work_in_the_way_refuses_the_merge_and_stays(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    repository = GitRepository(folder)
    undo(repository, bad)
    (folder / FILE).write_text(BAD + "somebody: is typing\n")
    with pytest.raises(Conflict, match="cannot be brought forward"):
        repository.merge("quell/fix-1", into="main")
    assert repository.head("main") == bad and "is typing" in (folder / FILE).read_text()


def test_a_branch_that_moved_on_refuses_the_merge(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    repository = GitRepository(folder)
    undo(repository, bad)
    later = save(folder, "x: 1\n", "meanwhile", file="services/other.yaml")
    with pytest.raises(Conflict, match="cannot be brought forward"):
        repository.merge("quell/fix-1", into="main")
    assert repository.head("main") == later


def test_a_work_tree_left_by_a_dead_process_is_begun_anew(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    repository = GitRepository(folder)
    left = folder / ".git/quell-trees/quell-fix-1"
    git(folder, "worktree", "add", "--quiet", "-B", "quell/fix-1", str(left), "main")
    (left / "half-done").write_text("x")
    fix = undo(repository, bad)
    assert "half-done" not in repository.files_of(fix)


def test_a_fix_is_found_again_by_its_trailer_and_only_by_the_whole_line(folder: Path) -> None:
    bad = save(folder, BAD, "bad")
    repository = GitRepository(folder)
    fix = undo(repository, bad)
    repository.merge("quell/fix-1", into="main")
    assert repository.find_by_trailer("main", "Fix: FIX-1") == fix
    assert repository.find_by_trailer("main", "Fix: FIX-12") is None
    assert repository.find_by_trailer("main", "Fix: FIX") is None


def test_unknown_commits_and_names_that_look_like_options_are_refused(folder: Path) -> None:
    repository = GitRepository(folder)
    with pytest.raises(NotFound, match="is not in"):
        repository.commit("0123456789abcdef")
    with pytest.raises(InvalidInput, match="not the name of a commit"):
        repository.commit("--output=/tmp/x")


def test_a_file_outside_the_repository_is_not_written(folder: Path) -> None:
    repository = GitRepository(folder)
    with repository.work_tree("quell/fix-1", start="main") as tree, pytest.raises(InvalidInput, match="outside"):
        tree.write("../../escaped.yaml", "x: 1\n")
