"""A git repository of configuration: what a commit did, and its undoing as a reviewed commit."""

import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from quell.adapters.git_program import COMMAND_TIMEOUT, GitProgram
from quell.adapters.git_remote import fetch_branch, push_commit
from quell.incidents.errors import Conflict, InvalidInput, NotFound, Refused, Unavailable
from quell.incidents.service import ConfigRepository

_IDENTITY = ("-c", "user.name=Quell", "-c", "user.email=quell@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    id: str
    author: str
    at: datetime
    subject: str


class Standing(StrEnum):
    """What is left of a commit in one file at the head of a branch."""

    IN_FORCE = "in_force"  # the file is as the commit left it
    CHANGED_SINCE = "changed_since"  # later commits changed the file too; an undo may conflict
    NOT_IN_FORCE = "not_in_force"  # not on the branch, or the file is as it was before the commit


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """A second working tree on its own branch; the repository's own tree does not see what happens here."""

    path: Path
    branch: str
    repository: "GitRepository"

    def undo_commit(self, commit: str, file: str) -> None:
        """Take back what `commit` did to `file` (three-way, staged). Raises Conflict; the tree is then as before."""
        patch = self.repository.diff(commit, file)
        if not patch:
            raise InvalidInput(f"commit {commit} did not change {file}")
        result = self.repository.run("apply", "--reverse", "--3way", "--index", "-", cwd=self.path, stdin=patch)
        if not result.is_ok:
            self.repository.git("reset", "--hard", "--quiet", cwd=self.path)
            raise Conflict(
                f"commit {commit[:12]} cannot be taken back from {file}: later commits changed the same lines; "
                f"mend the file by hand ({result.stderr.strip().splitlines()[-1] if result.stderr else 'git apply'})"
            )

    def write(self, file: str, content: str) -> None:
        """Write and stage one file. Raises InvalidInput for a name that leaves the tree."""
        path = (self.path / file).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise InvalidInput(f"file {file} is outside the repository")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.repository.git("add", "--", file, cwd=self.path)

    def remove(self, file: str) -> None:
        """Take one file away, staged. Raises InvalidInput where there is none."""
        self.repository.git("rm", "--quiet", "--", file, cwd=self.path)

    def staged_diff(self, *, first: str = "") -> str:
        """What is staged; the file that is named comes before all others."""
        if not first:
            return self.repository.git("diff", "--cached", cwd=self.path)
        rest = self.repository.git("diff", "--cached", "--", ".", f":(exclude){first}", cwd=self.path)
        return self.repository.git("diff", "--cached", "--", first, cwd=self.path) + rest

    def commit(self, message: str) -> str:
        """Commit what is staged, as Quell; returns the commit's id. Raises Conflict when nothing is staged."""
        if not self.staged_diff():
            raise Conflict(f"branch {self.branch} has nothing to commit: the files are already as wanted")
        self.repository.git(*_IDENTITY, "commit", "--quiet", "--file=-", cwd=self.path, stdin=message)
        return self.repository.git("rev-parse", "HEAD", cwd=self.path).strip()


@dataclass(frozen=True, slots=True)
class GitRepository(GitProgram):
    """What the commits of a repository say, and the changes that Quell makes to it.

    Where it has a `remote`, what that one has is what counts: `catch_up` before the branch is read for a change, and
    `merge` pushes before anything changes here.
    """

    remote: str = ""

    def at_root(self) -> "GitRepository":
        """The same at the root of its working tree, to which the names of files are relative."""
        return replace(self, path=Path(self.git("rev-parse", "--show-toplevel").strip()))

    def head(self, branch: str) -> str:
        """The commit at the head of the branch. Raises NotFound."""
        try:
            return self._resolve(f"refs/heads/{branch}")
        except NotFound as error:
            has = self.run("for-each-ref", "--format=%(refname:short)", "refs/heads").stdout.split()[:20]
            text = f"branch {branch} is not in {self.path} (it has {', '.join(has) or 'none'})"
            raise NotFound(f"{text}; mend path or branch of the repository in the configuration") from error

    def commit(self, commit: str) -> Commit:
        """Who made the commit, when, and its subject. Raises NotFound."""
        text = self.git("show", "--no-patch", "--format=%H%x00%an%x00%at%x00%s", self._resolve(commit))
        id, author, at, subject = text.strip().split("\0")
        return Commit(id=id, author=author, at=datetime.fromtimestamp(int(at), UTC), subject=subject)

    def files_of(self, commit: str) -> tuple[str, ...]:
        """The files that the commit changed."""
        id = self._resolve(commit)
        names = self.git("diff-tree", "-r", "--root", "--no-commit-id", "--name-only", "-z", id)
        return tuple(name for name in names.split("\0") if name)

    def diff(self, commit: str, file: str) -> str:
        """What the commit did to the file, as a patch; empty when it did nothing to it."""
        id = self._resolve(commit)
        return self.git("diff-tree", "-p", "--root", "--no-commit-id", "--full-index", "--no-ext-diff", id, "--", file)

    def content(self, commit: str, file: str) -> str | None:
        """The file as it is at the commit; None when it is not there."""
        result = self.run("show", f"{self._resolve(commit)}:{file}")
        return result.stdout if result.is_ok else None

    def versions(self, commit: str, file: str, *, most: int) -> tuple[str, ...]:
        """The texts that the file had up to the commit, newest first."""
        id = self._resolve(commit)
        ids = self.git("log", "--format=%H", f"--max-count={most}", id, "--", file).split()
        return tuple(text for one in ids if (text := self.content(one, file)) is not None)

    def last_change(self, commit: str, file: str) -> str:
        """The last commit that touched the file, up to this one. Raises NotFound."""
        found = self.git("log", "-1", "--format=%H", commit, "--", file).strip()
        if not found:
            raise NotFound(f"no commit before {commit[:12]} touched {file}")
        return found

    def list_files(self, commit: str, folder: str) -> tuple[str, ...]:
        """The files directly in a folder at the commit; empty when there is no such folder."""
        names = self.git("ls-tree", "-z", "--name-only", self._resolve(commit), "--", f"{folder.rstrip('/')}/")
        return tuple(name for name in names.split("\0") if name)

    def parent(self, commit: str) -> str | None:
        """The commit before; None for the first one."""
        result = self.run("rev-parse", "--verify", "--quiet", f"{self._resolve(commit)}^")
        return result.stdout.strip() if result.is_ok else None

    def standing(self, commit: str, file: str, branch: str) -> Standing:
        """How much of the commit is in force in the file at the head of the branch."""
        id, head = self._resolve(commit), self.head(branch)
        if not self._is_ancestor(id, head):
            return Standing.NOT_IN_FORCE
        now = self.content(head, file)
        if now == self.content(id, file):
            return Standing.IN_FORCE
        parent = self.parent(id)
        before = self.content(parent, file) if parent else None
        return Standing.NOT_IN_FORCE if now == before else Standing.CHANGED_SINCE

    def find_by_trailer(self, branch: str, *trailers: str) -> str | None:
        """The newest commit on the branch whose message has all these lines; None when there is none."""
        patterns = [f"--grep=^{re.escape(trailer)}$" for trailer in trailers]
        found = self.git("log", "-1", "--format=%H", "--extended-regexp", "--all-match", *patterns, self.head(branch))
        return found.strip() or None

    @contextmanager
    def work_tree(self, branch: str, *, start: str) -> Generator[WorkTree]:
        """A second working tree on `branch`, begun anew at `start`; it is removed at the end, the branch stays.

        What a dead process left under the same name is thrown away first.
        """
        path = self._tree_of(branch)
        self.remove_tree(path)
        path.parent.mkdir(exist_ok=True)
        self.git("worktree", "add", "--quiet", "--force", "-B", branch, str(path), self._resolve(start))
        try:
            yield WorkTree(path=path, branch=branch, repository=self)
        finally:
            self.remove_tree(path)

    def forget(self, branch: str) -> None:
        """Remove a branch of ours, with the working tree that a dead process left on it."""
        path = self._tree_of(branch)
        if path.exists() or self.run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").is_ok:
            self.remove_tree(path)
            self.run("branch", "--quiet", "-D", branch)

    def catch_up(self, branch: str) -> None:
        """Bring the branch forward to what the remote has; nothing to do without a remote.

        Raises Unavailable while the remote cannot be reached, or the branch here holds what the remote has not.
        """
        if not self.remote:
            return
        theirs = self.fetch(branch)
        if theirs != self.head(branch):
            try:
                self._bring_forward(branch, theirs)
            except Conflict as error:  # a person's uncommitted work: theirs to put away
                raise Unavailable(str(error)) from error

    def fetch(self, branch: str) -> str:
        """The commit at the head of the remote's branch; the branch here stays. Raises as `catch_up`."""
        theirs, ours = fetch_branch(self, self.remote, branch), self.head(branch)
        if not self._is_ancestor(ours, theirs):
            count = int(self.git("rev-list", "--count", f"{theirs}..{ours}"))
            what = "a commit" if count == 1 else f"{count} commits"
            text = f"branch {branch} of {self.path} has {what} that {self.remote} has not"
            raise Unavailable(f"{text}: push, or take back, what is only here")
        return theirs

    def merge(self, source: str, *, into: str) -> str:
        """Bring `into` forward to `source`, fast-forward only, files included; returns the new head.

        With a remote it is pushed first, so that nothing is here that is not there. Raises Conflict when `into` has
        moved on, here or there, or the working tree has uncommitted changes in the way; nothing is changed then. Raises
        Refused when the remote does not take it, and Unavailable when somebody is changing the repository at this
        moment or the remote cannot be reached; then `catch_up` tells whether it got there.
        """
        wanted = self._resolve(source)
        if self.remote:
            self._require_way(into, wanted)
            push_commit(self, self.remote, wanted, into)
        self._bring_forward(into, wanted)
        return self.head(into)

    def publish(self, branch: str) -> bool:
        """Let others see a branch of ours at the remote, for them to review; whether there is a remote that took it."""
        if not self.remote:
            return False
        try:
            push_commit(self, self.remote, self.head(branch), branch, force=True)
        except (Conflict, Refused, Unavailable):
            return False
        return True

    def _require_way(self, branch: str, wanted: str) -> None:
        """Raises Conflict where the branch could not be brought forward here: what is pushed must be possible here."""
        head = self.head(branch)
        if not self._is_ancestor(head, wanted):
            raise Conflict(f"branch {branch} has moved on: {head[:12]} is not below {wanted[:12]}")
        files = [name for name in self.git("diff", "--name-only", "-z", head, wanted).split("\0") if name]
        if self._is_checked_out(branch) and files:
            changed = self.git("status", "--porcelain", "-z", "--untracked-files=all", "--", *files)
            if changed:
                text = f"{changed[3:].split(chr(0))[0]} has changes that are not committed"
                raise Conflict(f"branch {branch} cannot be brought forward to {wanted[:12]}: {text}")

    def _bring_forward(self, branch: str, wanted: str) -> None:
        if self._is_checked_out(branch):
            files = self.git("diff", "--name-only", "-z", self.head(branch), wanted).split("\0")
            note = {"merge": wanted, "files": [name for name in files if name]}
            result = self.change((*_IDENTITY, "merge", "--ff-only", "--quiet", wanted), note=note)
        else:
            result = self.run("fetch", "--quiet", ".", f"{wanted}:refs/heads/{branch}")
        if not result.is_ok and ".lock" in result.said:
            raise Unavailable(f"branch {branch} is being changed by somebody: {result.said.splitlines()[0]}")
        if not result.is_ok:
            raise Conflict(f"branch {branch} cannot be brought forward to {wanted[:12]}: {result.said.splitlines()[0]}")

    def _is_checked_out(self, branch: str) -> bool:
        return self.run("symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip() == branch

    def _is_ancestor(self, commit: str, of: str) -> bool:
        return self.run("merge-base", "--is-ancestor", commit, of).is_ok

    def _tree_of(self, branch: str) -> Path:
        return self.common() / "quell-trees" / branch.replace("/", "-")

    def remove_tree(self, path: Path) -> None:
        """Git's own way first; what it does not take for a working tree, because it was never finished, goes too."""
        if not path.exists() and not (path.parent.parent / "worktrees" / path.name).exists():
            return
        if not self.run("worktree", "remove", "--force", "--force", str(path)).is_ok:
            shutil.rmtree(path, ignore_errors=True)
            self.run("worktree", "unlock", str(path))
            self.run("worktree", "prune", "--expire=now")

    def _resolve(self, name: str) -> str:
        if name.startswith("-"):
            raise InvalidInput(f"{name} is not the name of a commit")
        result = self.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if not result.is_ok:
            raise NotFound(f"commit {name} is not in {self.path}; fetch it or correct the change's commit")
        return result.stdout.strip()


def open_repository(repository: ConfigRepository, timeout: timedelta = COMMAND_TIMEOUT) -> GitRepository:
    """A service's repository; `timeout` bounds each command of git."""
    return GitRepository(Path(repository.path), timeout=timeout, remote=repository.remote)
