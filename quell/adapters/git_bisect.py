"""`git bisect` in a working tree of its own: neither the user's tree nor a bisection of the user sees it."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quell.adapters.commands import CommandResult
from quell.adapters.git import GitRepository
from quell.incidents.errors import InvalidInput

_PREFIX = "bisect-"
_FIRST_BAD = re.compile(r"^([0-9a-f]{40}) is the first bad commit$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where the search stands: the commit to try next, or the first bad one, or those it could be (skipped ones)."""

    next: str = ""
    first_bad: str = ""
    could_be: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectTree:
    """A detached working tree, thrown away at the end. Git keeps the state of a bisection per working tree."""

    path: Path
    repository: GitRepository

    def check_out(self, commit: str) -> None:
        """The tree as it was at the commit; what a trial left lying around is gone."""
        self.repository.git("checkout", "--quiet", "--force", "--detach", commit, cwd=self.path)
        self.repository.git("clean", "-ffdxq", cwd=self.path)

    def start(self, *, bad: str, good: str, paths: Sequence[str]) -> Found:
        """Begin between the two; only commits that changed one of the paths are looked at (empty: all)."""
        self.repository.git("clean", "-ffdxq", cwd=self.path)
        return self._read(self._bisect("start", bad, good, *(("--", *paths) if paths else ())))

    def mark(self, word: str) -> Found:
        """Say `good`, `bad` or `skip` of the commit that is checked out."""
        self.repository.git("checkout", "--quiet", "--force", cwd=self.path)
        self.repository.git("clean", "-ffdxq", cwd=self.path)
        return self._read(self._bisect(word))

    def _bisect(self, *words: str) -> CommandResult:
        return self.repository.run("bisect", *words, cwd=self.path)

    def _read(self, result: CommandResult) -> Found:
        if found := _FIRST_BAD.search(result.stdout):
            return Found(first_bad=found.group(1))
        if "skip'ped commits left" in result.stdout:
            return Found(could_be=tuple(re.findall(r"^([0-9a-f]{40})$", result.stdout, re.MULTILINE)))
        if not result.is_ok:
            raise InvalidInput(f"git bisect failed in {self.repository.path}: {result.said}")
        return Found(next=self.repository.git("rev-parse", "HEAD", cwd=self.path).strip())


@contextmanager
def bisect_tree(repository: GitRepository, name: str, start: str) -> Generator[BisectTree]:
    """A tree for one bisection at `start`; what a dead process left under the same name is thrown away first."""
    path = _folder(repository) / f"{_PREFIX}{name.lower()}"
    repository.remove_tree(path)
    path.parent.mkdir(exist_ok=True)
    repository.git("worktree", "add", "--quiet", "--force", "--detach", str(path), start)
    try:
        yield BisectTree(path=path, repository=repository)
    finally:
        repository.remove_tree(path)


def left_trees(repository: GitRepository) -> tuple[str, ...]:
    """The names of the trees that are there now, in use or left."""
    folder = _folder(repository)
    found = sorted(folder.glob(f"{_PREFIX}*")) if folder.is_dir() else []
    known = sorted((folder.parent / "worktrees").glob(f"{_PREFIX}*"))
    return tuple(dict.fromkeys(path.name.removeprefix(_PREFIX) for path in (*found, *known)))


def remove_left_tree(repository: GitRepository, name: str) -> None:
    repository.remove_tree(_folder(repository) / f"{_PREFIX}{name}")


def _folder(repository: GitRepository) -> Path:
    return repository.common() / "quell-trees"
