"""`quell playbook check` and `drilled`: playbooks that name what is gone, or that nobody has exercised lately."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, moment, out, share, table, whoami
from quell.incidents.errors import QuellError

if TYPE_CHECKING:
    from quell.config.config import Config
    from quell.config.problem import Problem
    from quell.prevention.care import Care

_RENAMED = re.compile(r'"(?P<wrong>[^"]+)" is not defined; did you mean "(?P<right>[^"]+)"\?')


def check(
    live: Annotated[bool, typer.Option("--live", help="Ask Prometheus and the levers as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    diffs: Annotated[Path | None, typer.Option("--diff", help="Write the proposed diffs to this file.")] = None,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Owner, last use, last drill and success of each playbook, what is wrong with it, and a diff for that.

    Exit 1 when a playbook names what does not exist, or was neither used nor drilled for a quarter. `git apply` takes
    the diffs, in the configuration folder.
    """
    count = len(_read(config).playbooks)
    try:
        cares = _cares(config, live=live)
    except QuellError as error:  # a pipeline has neither the record nor its password
        err().print(f"only the files were checked: {error}", style="yellow", markup=False, soft_wrap=True)
        out().print(f"{count} of {count} playbooks are right")
        return
    ailing = [care for care in cares if care.ailments]
    proposed = "".join(ailment.diff for care in ailing for ailment in care.ailments)
    if diffs is not None:
        diffs.write_text(proposed, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps([_plain(care) for care in cares], ensure_ascii=False))
    else:
        _show(cares, "" if diffs else proposed, live=live)
    if ailing:
        raise typer.Exit(1)


def drilled(
    name: Annotated[str, typer.Argument(help="The playbook's name, as `quell playbook list` shows it.")],
    note: Annotated[str, typer.Option(help="What was done, and what came of it.")],
    by: Annotated[str, typer.Option("--by", help="Who did it; by default the login name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Record that a playbook was exercised on purpose; it stands on the timeline, and in the weekly report."""
    with opened(config) as res:
        from tasks.playbook_drills import record_drill

        record_drill(res, name, by=by or whoami(), note=note)
    out().print(f"{name}: the drill is on record", markup=False)


def _cares(folder: Path, *, live: bool) -> "list[Care]":
    with opened(folder) as res:
        from tasks.playbook_care import care_for, note_playbooks

        note_playbooks(res)
        return care_for(res, live=live)


def _read(folder: Path) -> "Config":
    """The configuration; where a playbook names what is not there, its problem and a diff with the nearest name."""
    from quell.config.load import read_config
    from quell.config.problem import ConfigError

    try:
        return read_config(folder)
    except ConfigError as error:
        for problem in error.problems:
            err().print(str(problem), style="red", markup=False, soft_wrap=True)
        out().print(_renamed(error.problems), markup=False, soft_wrap=True, end="")
        raise typer.Exit(1) from error


def _renamed(problems: "Iterable[Problem]") -> str:
    from quell.prevention.care import propose_name

    diffs: list[str] = []
    for problem in problems:
        file, found = Path(problem.file), _RENAMED.search(problem.text)
        if found is not None and file.parent.name == "playbooks":
            text = file.read_text(encoding="utf-8")
            diffs.append(propose_name(f"playbooks/{file.name}", text, problem.line, found["wrong"], found["right"]))
    return "".join(diffs)


def _show(cares: "list[Care]", proposed: str, *, live: bool) -> None:
    rows = [
        (
            *(care.playbook, care.owner, moment(care.last_used_at) or "never", moment(care.last_drilled_at) or "never"),
            share(care.outcomes.success_share),
            "; ".join([*(ailment.text for ailment in care.ailments), *care.gaps]) or "nothing",
        )
        for care in sorted(cares, key=lambda care: (not care.ailments, care.playbook))
    ]
    columns = ("playbook", "owner", "last use (UTC)", "last drill (UTC)", "success", "what is wrong")
    out().print(table("", columns, rows) if rows else "no playbook is configured")
    out().print(proposed, markup=False, soft_wrap=True, end="")
    count, wrong = len(cares), sum(bool(care.ailments) for care in cares)
    asked = "" if live else "; --live also asks Prometheus and the levers"
    out().print(f"{count - wrong} of {count} playbooks are right{asked}", markup=False, soft_wrap=True)


def _plain(care: "Care") -> dict[str, Any]:
    return {
        "playbook": care.playbook,
        "owner": care.owner,
        "known_since": care.known_since.isoformat(),
        "last_used_at": care.last_used_at.isoformat() if care.last_used_at else None,
        "last_drilled_at": care.last_drilled_at.isoformat() if care.last_drilled_at else None,
        "success_share": care.outcomes.success_share,
        "wrong": [{"kind": a.kind, "text": a.text, "diff": a.diff} for a in care.ailments],
        "gaps": list(care.gaps),
    }
