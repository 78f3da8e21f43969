"""`quell guard list, show, propose, prove, accept`: the guards of a repository, and what a person does with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption

if TYPE_CHECKING:
    from quell.adapters.guard_folder import GuardFolder
    from quell.resolution.guard import Guard

RepositoryOption = Annotated[
    Path, typer.Option("--repository", "-r", help="Working tree of the repository that holds the guards folder.")
]
NameArgument = Annotated[str, typer.Argument(help="Name of the guard, as `quell guard list` shows it.")]
_HERE = Path()


def add_to(app: typer.Typer) -> None:
    for name, command in (
        ("list", list_guards),
        ("show", show),
        ("propose", propose),
        ("prove", prove),
        ("accept", accept),
    ):
        app.command(name)(command)


def _folder(repository: Path) -> "GuardFolder":
    from quell.adapters.guard_folder import GuardFolder

    return GuardFolder(root=repository)


def list_guards(repository: RepositoryOption = _HERE) -> None:
    """Every guard: what taught it, which files it covers, whether somebody has accepted it."""
    from deployments.cli.terminal import out, table

    rows = [
        (g.name, g.state, g.accepted_by, g.incident, g.files, _kinds(g), g.message)
        for g in _folder(repository).guards()
    ]
    columns = ("guard", "state", "accepted by", "incident", "files", "checks", "what it asks")
    out().print(table("", columns, rows) if rows else f"no guard in {repository / 'guards'}")


def _kinds(guard: "Guard") -> str:
    parts = {
        "schema": guard.schema,
        "text": guard.text,
        "references": guard.references,
        "certificate": guard.certificate,
    }
    return ", ".join(name for name, part in parts.items() if part)


def show(name: NameArgument, repository: RepositoryOption = _HERE) -> None:
    """The guard's file as it stands."""
    from deployments.cli.terminal import out

    guard = _folder(repository).find(name)
    out().print((repository / guard.source).read_text(), markup=False, highlight=False, soft_wrap=True)


def propose(
    commit: Annotated[str, typer.Argument(help="The commit that did it.")],
    repository: RepositoryOption = _HERE,
    file: Annotated[str, typer.Option(help="Only this file of the commit.")] = "",
    service: Annotated[str, typer.Option(help="The service; goes into the guard's name.")] = "",
    incident: Annotated[str, typer.Option(help="The incident that it taught, as in INC-7.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Write them into the guards folder, to be edited.")] = False,
) -> None:
    """Propose guards from a bad commit; each is proved: it fails on the bad file and passes on all good ones."""
    from deployments.cli.terminal import err, out
    from quell.adapters.guards import write_guard

    folder = _folder(repository)
    found, missing = folder.propose(commit, service=service, incident=incident, file=file)
    for one in found:
        where = str(folder.write(one.guard)) if write else one.guard.source
        out().print(f"[bold]{where}[/]: passes on {len(one.outcome.passed)} good files, fails on the bad one:")
        out().print(f"  {one.outcome.said}", markup=False, soft_wrap=True)
        if not write:
            out().print(write_guard(one.guard), markup=False, highlight=False, soft_wrap=True)
    for text in missing:
        err().print(f"no guard: {text}", markup=False, soft_wrap=True)
    if not found:
        raise typer.Exit(1)


def prove(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Guards; default: all.")] = None,
    repository: RepositoryOption = _HERE,
) -> None:
    """Prove guards again: each fails on the file that taught it and passes on every good one. Exit 1: one does not."""
    from deployments.cli.terminal import err, out
    from quell.incidents.errors import QuellError

    folder = _folder(repository)
    failed = 0
    for guard in [folder.find(name) for name in names] if names else folder.guards():
        try:
            outcome = folder.prove(guard)
        except QuellError as error:
            failed += 1
            err().print(f"{guard.name}: not proved: {error}", style="red", markup=False, soft_wrap=True)
            continue
        if outcome.is_proved:
            text = f"{guard.name}: proved; passes on {len(outcome.passed)} good files, fails on {guard.proof.bad}"
            out().print(text, markup=False, soft_wrap=True)
        else:
            failed += 1
            err().print(f"{guard.name}: not proved: {outcome.wrong}", style="red", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def accept(
    name: NameArgument,
    repository: RepositoryOption = _HERE,
    by: Annotated[str, typer.Option("--by", help="Who accepts it; by default the login name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Accept a guard as it stands on disk (edit it first): it is proved again, marked and committed.

    With a configuration folder at hand the acceptance goes on the incident's timeline as well.
    """
    from deployments.cli.record import opened
    from deployments.cli.terminal import out, whoami
    from quell.incidents.errors import Refused

    folder, who = _folder(repository), by or whoami()
    edited = folder.is_edited(folder.find(name))
    if not (config / "quell.toml").is_file():
        _, outcome, commit = folder.accept(name, who)
        recorded = f"no configuration in {config}: it is in git alone"
    else:
        from tasks.guard_standing import note_written_guard
        from tasks.guards import note_acceptance

        with opened(config) as res:
            if res.config.people and who not in res.config.people:
                raise Refused(f"{who} is not in people.yaml; say with --by who you are")
            guard, outcome, commit = folder.accept(name, who)
            record = note_acceptance(res, name, who, is_edited=edited, commit=commit) or note_written_guard(
                res, guard, outcome, by=who, commit=commit, root=folder.root, at=res.clock()
            )
        unknown = f"the record knows no {guard.incident}: it is in git alone"
        recorded = f"on the timeline of {record.incident}" if record else unknown
    passed = len(outcome.passed)
    text = f"guard {name} is accepted by {who} in commit {commit[:12]}: passes on {passed} good files; {recorded}"
    out().print(text, markup=False, soft_wrap=True)
