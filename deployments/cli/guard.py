"""`quell guard FILE...`: the gate for deployment pipelines, taught by past incidents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from quell.adapters.guards import check_file, load_guards
from quell.incidents.errors import InvalidInput

GUARDS = "guards"


def guard(files: Sequence[Path], *, guards: Path | None = None) -> list[str]:
    """One line per finding, `file:line: ...`; empty when every file keeps to every guard that covers it.

    Guards are taken from `guards`, or from the nearest `guards` folder above each file; their globs are relative to
    that folder's parent. A guard or a file that cannot be read is a finding: the gate fails closed. A file without
    any such folder above it passes.
    """
    lines: list[str] = []
    for file in files:
        folder = guards or find_guards(file)
        if folder is None:  # no incident has taught anything here yet
            continue
        try:
            if not folder.is_dir():
                raise InvalidInput(f"{file}:1: {folder} is no folder of guards; correct --guards")
            rules = load_guards(folder)
            root = folder.resolve().parent
            if not file.resolve().is_relative_to(root):
                raise InvalidInput(f"{file}:1: it is not below {root}, to which the guards' globs are relative")
            lines += [str(finding) for finding in check_file(rules, root, file)]
        except InvalidInput as error:
            lines.append(str(error))
    return lines


def find_guards(file: Path) -> Path | None:
    """The nearest folder named `guards` beside the file or above it."""
    return next((p / GUARDS for p in file.resolve().parents if (p / GUARDS).is_dir()), None)


def command(
    files: Annotated[list[Path], typer.Argument(help="Configuration files to check.")],
    guards: Annotated[
        Path | None, typer.Option("--guards", help="Folder of guards; default: the nearest one above each file.")
    ] = None,
) -> None:
    """Check configuration files against the guards that past incidents left. Exit 0: all kept; 1: something is not."""
    findings = guard(files, guards=guards)
    for line in findings:
        typer.echo(line, err=True)
    if findings:
        raise typer.Exit(1)
    typer.echo(f"{len(files)} file{'s' if len(files) != 1 else ''} kept to all guards")
