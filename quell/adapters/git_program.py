"""The git program in one repository: run for what it says, or in turn for what it changes."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from quell.adapters.commands import CommandResult, run_command
from quell.adapters.git_mend import take_back_half_merge
from quell.adapters.git_turn import clear_note, is_noted, read_note, remove_left_locks, turn, write_note
from quell.incidents.errors import InvalidInput, QuellError

COMMAND_TIMEOUT = timedelta(seconds=20)
_MOST_OUTPUT = 20_000_000  # a file or a diff is needed whole
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C"}
_CHANGING = frozenset(
    {"worktree", "apply", "reset", "add", "rm", "commit", "merge", "fetch", "push", "branch", "update-ref"}
)
# nothing that goes on in the background: it would keep the turn (see git_turn)
_QUIET = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false")


@dataclass(frozen=True, slots=True)
class GitProgram:
    """Everything goes through the git program: its locks hold against people working in the same repository."""

    path: Path
    timeout: timedelta = COMMAND_TIMEOUT

    def git(self, *arguments: str, cwd: Path | None = None, stdin: str | None = None) -> str:
        """Run git and return what it wrote. Raises InvalidInput with git's own words."""
        result = self.run(*arguments, cwd=cwd, stdin=stdin)
        if not result.is_ok:
            said = result.stderr.strip() or f"exit code {result.code}"
            raise InvalidInput(f"git {arguments[0]} failed in {cwd or self.path}: {said}")
        return result.stdout

    def run(self, *arguments: str, cwd: Path | None = None, stdin: str | None = None) -> CommandResult:
        if _verb(arguments) not in _CHANGING:
            return self._run(arguments, cwd=cwd, stdin=stdin)
        return self.change(arguments, cwd=cwd, stdin=stdin)

    def common(self) -> Path:
        """The folder that all working trees of the repository share."""
        return Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir").strip())

    def mend(self) -> None:
        """Put right what a process left that was killed while it changed the repository."""
        if is_noted(self.common()):
            with self._turn():
                pass

    def change(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        stdin: str | None = None,
        note: Mapping[str, object] | None = None,
    ) -> CommandResult:
        """Run what changes the repository: in turn, noted before, and mended where it was cut off."""
        with self._turn() as descriptor:
            write_note(descriptor, note or {})
            try:
                result = self._run(arguments, cwd=cwd, stdin=stdin, keep_open=descriptor)
            except QuellError:  # it ran too long and was killed
                self._mend(descriptor)
                raise
            if result.code < 0:
                self._mend(descriptor)
            clear_note(descriptor)
            return result

    def _run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        stdin: str | None = None,
        keep_open: int | None = None,
    ) -> CommandResult:
        command = ("git", "-c", "core.quotePath=false", *_QUIET, *arguments)
        return run_command(
            command,
            cwd=cwd or self.path,
            timeout=self.timeout,
            env=_ENVIRONMENT,
            stdin=stdin,
            most_output=_MOST_OUTPUT,
            keep_open=keep_open,
        )

    @contextmanager
    def _turn(self) -> Generator[int]:
        with turn(self.common(), self.timeout) as descriptor:
            self._mend(descriptor)
            yield descriptor

    def _mend(self, descriptor: int) -> None:
        note = read_note(descriptor)
        if note is None:
            return
        if "at" in note:
            remove_left_locks(self.common(), float(note["at"]))
        if "merge" in note:

            def git(*arguments: str) -> CommandResult:
                return self._run(arguments, cwd=root, keep_open=descriptor)

            root = Path(self.git("rev-parse", "--show-toplevel").strip())
            take_back_half_merge(git, root, str(note["merge"]), [str(file) for file in note["files"]])
        clear_note(descriptor)


def _verb(arguments: Sequence[str]) -> str:
    """
    >>> _verb(("-c", "user.name=Quell", "commit", "--quiet"))
    'commit'
    """
    position = 0
    while position < len(arguments) and arguments[position] == "-c":
        position += 2
    return arguments[position] if position < len(arguments) else ""
