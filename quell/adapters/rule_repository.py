"""Rule files that are kept in git: a change of a limit is a commit, pushed first where a remote's branch counts."""

from dataclasses import dataclass
from pathlib import Path

from quell.adapters.git import GitRepository
from quell.incidents.errors import Conflict

_TRIES = 3  # on a branch to which people commit meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRepository:
    """The branch that is checked out where Prometheus reads its rules."""

    git: GitRepository
    branch: str

    def keep(self, path: Path, text: str | None, message: str) -> None:
        """Give the file this text, or take it away (None), as a commit on the branch and in the working tree.

        Done already is done. Raises Conflict when somebody's uncommitted work stands in the way, Refused when the
        remote does not take it, Unavailable when it cannot be reached; nothing is changed then.
        """
        git = self.git.at_root()  # the rules are a folder among others there
        file, ours = str(path.resolve().relative_to(git.path.resolve())), f"quell/rules-{path.stem}"
        for left in reversed(range(_TRIES)):
            git.catch_up(self.branch)
            if git.content(self.branch, file) == text:
                break
            try:
                self._commit(git, ours, file, text, message)
            except Conflict:
                if not left:
                    raise
            else:
                break
            finally:
                git.forget(ours)
        if (path.read_text() if path.exists() else None) != text:
            raise Conflict(f"{path} is not what branch {self.branch} says: commit what is there, or check it out again")

    def _commit(self, git: GitRepository, ours: str, file: str, text: str | None, message: str) -> None:
        with git.work_tree(ours, start=self.branch) as tree:
            if text is None:
                tree.remove(file)
            else:
                tree.write(file, text)
            tree.commit(message)
        git.merge(ours, into=self.branch)
