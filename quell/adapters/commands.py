"""Commands of the user: run without a shell, inside a time limit, with bounded output."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from quell.incidents.errors import InvalidInput, Unavailable

MOST_OUTPUT = 20_000  # characters kept of each stream; the end is kept, errors stand there


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command said. `code` is its exit code, negative when a signal ended it."""

    command: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def is_ok(self) -> bool:
        return self.code == 0

    @property
    def said(self) -> str:
        """Standard output and error together, for people."""
        return "\n".join(text.strip() for text in (self.stdout, self.stderr) if text.strip())


def run_command(
    command: Sequence[str],
    *,
    cwd: Path,
    timeout: timedelta,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    most_output: int = MOST_OUTPUT,
    keep_open: int | None = None,
) -> CommandResult:
    """Run one program to its end; after `timeout` it and its children are killed.

    `keep_open` is a descriptor that the program inherits.

    `python` is the interpreter that runs Quell, because its folder comes first on the PATH of the command.

    Raises Unavailable (it ran too long) or InvalidInput (there is no such program or folder).
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**_environment(), **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=() if keep_open is None else (keep_open,),
            start_new_session=True,  # one group, so that children die with it
        )
    except OSError as error:
        raise InvalidInput(f"command {command[0]} cannot be started in {cwd}: {error}") from error
    with process:
        try:
            out, err = process.communicate(stdin, timeout=timeout.total_seconds())
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            text = f"command {' '.join(command)} ran longer than {timeout.total_seconds():g} s and was killed"
            raise Unavailable(text) from error
    said = {"stdout": out[-most_output:], "stderr": err[-most_output:]}
    return CommandResult(command=tuple(command), code=process.returncode, **said)


def fill_in(command: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Replace `{name}` in each word; words stay words, whatever the values contain.

    >>> fill_in(["check", "{file}"], {"file": "a b.yaml; rm"})
    ('check', 'a b.yaml; rm')
    """
    words: list[str] = []
    for word in command:
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        words.append(word)
    return tuple(words)


def _environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]), "LC_ALL": "C.UTF-8"}
