"""`quell guard FILE...`: the gate for deployment pipelines, taught by past incidents; and the guards themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from deployments.cli import guard_folder

if TYPE_CHECKING:
    from quell.adapters.documents import FolderFiles
    from quell.resolution.guard import Guard
    from quell.resolution.reference import Known

GUARDS = "guards"
CHECK = "check"


class FilesOrCommand(TyperGroup):
    """`quell guard FILE...` is `quell guard check FILE...`; a file that is called as a command is given as ./list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_command = not args or args[0] in self.commands or args[0] in ("--help", "-h")
        return super().parse_args(ctx, args if is_command else [CHECK, *args])


app = typer.Typer(
    cls=FilesOrCommand,
    no_args_is_help=True,
    help="Check files against the guards that incidents left: quell guard FILE... Exit 0: all kept; 1: one is broken.",
)


def guard(files: Sequence[Path], *, guards: Path | None = None, root: Path | None = None) -> list[str]:
    """One line per finding, `file:line: ...`; empty when every file keeps to every guard that covers it.

    A folder stands for all files below it. Guards are taken from `guards`, or from the nearest `guards` folder above
    each file; their globs are relative to `root`, by default that folder's parent. Files that refer to one of `files`
    are checked as well. A guard or a file that cannot be read is a finding: the gate fails closed. A file without any
    such folder above it passes.
    """
    from quell.incidents.errors import InvalidInput

    lines: list[str] = []
    nearest: dict[Path, Path | None] = {}
    wanted: dict[Path, list[Path]] = {}
    for file in _expand(files):
        parent = file.parent
        if parent not in nearest:
            nearest[parent] = guards or find_guards(file)
        folder = nearest[parent]
        if folder is not None:  # else no incident has taught anything here yet
            wanted.setdefault(folder, []).append(file)
    for folder, covered in wanted.items():
        try:
            lines += _check(folder, covered, root)
        except InvalidInput as error:
            lines.append(str(error))
    return lines


def check_files(files: Sequence[Path], *, guards: Path | None = None, root: Path | None = None) -> int:
    """Print what `guard` finds; the exit code."""
    findings = guard(files, guards=guards, root=root)
    for line in findings:
        typer.echo(line, err=True)
    if findings:
        return 1
    expanded = _expand(files)
    said = f"{len(expanded)} file{'s' if len(expanded) != 1 else ''}"
    is_guarded = guards is not None or any(find_guards(one) for one in {one.parent: one for one in expanded}.values())
    typer.echo(f"{said} kept to all guards" if is_guarded else f"{said}, no folder `guards` above: nothing was checked")
    return 0


def is_command(word: str) -> bool:
    return any(word == command.name for command in app.registered_commands)


def _expand(files: Sequence[Path]) -> list[Path]:
    from quell.adapters.documents import walk_names

    found: list[Path] = []
    for file in files:
        found += [file / name for name in walk_names(file.resolve())] if file.is_dir() else [file]
    return found


def _check(folder: Path, paths: Sequence[Path], root: Path | None) -> list[str]:
    """Raises InvalidInput for guards that cannot be used; what is wrong with a single file is a line."""
    from quell.adapters.documents import FolderFiles
    from quell.adapters.guards import load_guards
    from quell.incidents.errors import InvalidInput
    from quell.resolution.gate import neighbours
    from quell.resolution.reference import Known

    if not folder.is_dir():
        raise InvalidInput(f"{paths[0]}:1: {folder} is no folder of guards; correct --guards")
    rules = load_guards(folder)
    base = (root or folder.resolve().parent).resolve()
    inside = folder.resolve().is_relative_to(base)
    files = FolderFiles(root=base, without=folder.resolve().relative_to(base).as_posix() if inside else GUARDS)
    known: Known = {}
    lines: list[str] = []
    names: list[str] = []
    for path in paths:
        try:
            names.append(path.resolve().relative_to(files.root).as_posix())
        except ValueError:
            where = "to which the guards' globs are relative; say with --root what they are relative to"
            lines.append(f"{path}:1: it is not below {files.root}, {where}")
    for name in [name for name in names if not files.is_apart(name)]:
        lines += _findings(rules, files, name, known)
    for document in neighbours(rules, names, files):
        lines += _findings([rule for rule in rules if rule.references], files, document.name, known)
    return lines


def _findings(rules: "Sequence[Guard]", files: "FolderFiles", name: str, known: "Known") -> list[str]:
    from datetime import UTC, datetime

    from quell.incidents.errors import InvalidInput
    from quell.resolution.gate import check_document

    try:
        if not any(rule.covers(name) for rule in rules):
            return [] if (files.root / name).exists() else [f"{name}:1: it cannot be read: there is no such file"]
        return [str(one) for one in check_document(rules, files.read(name), files, datetime.now(UTC), known)]
    except InvalidInput as error:
        return [str(error)]


def find_guards(file: Path) -> Path | None:
    """The nearest folder named `guards` beside the file or above it."""
    return next((p / GUARDS for p in file.resolve().parents if (p / GUARDS).is_dir()), None)


@app.command(CHECK)
def command(
    files: Annotated[list[Path], typer.Argument(help="Configuration files to check; a folder means all files below.")],
    guards: Annotated[
        Path | None, typer.Option("--guards", help="Folder of guards; default: the nearest one above each file.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="What the guards' globs are relative to; default: above the guards.")
    ] = None,
) -> None:
    """Check configuration files against the guards that past incidents left. Exit 0: all kept; 1: something is not."""
    code = check_files(files, guards=guards, root=root)
    if code:
        raise typer.Exit(code)


guard_folder.add_to(app)
