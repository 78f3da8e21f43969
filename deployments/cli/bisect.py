"""`quell bisect INC-7`: the commits that could have done it, ranked, and which of them flips the check."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, table, whoami

if TYPE_CHECKING:
    from quell.resolution.candidate import Candidate
    from tasks.resources import Resources


def bisect(
    id: Annotated[str, typer.Argument(help="Incident id, as in INC-7.")],
    only_list: Annotated[bool, typer.Option("--list", help="Only rank the commits and show their diffs.")] = False,
    diff: Annotated[bool, typer.Option(help="Show what each ranked commit did.")] = True,
    by: Annotated[str, typer.Option(help="Your name; by default the login name.")] = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Find the commit that did it: rank those that could have, then confirm by bisection. Exit 1: not confirmed.

    Commits are tried in a working tree of their own with the repository's `validate` and `trial`; nothing that users
    reach is touched. A confirmed commit is first from then on, and `quell` undoes it.
    """
    from quell.resolution.bisection import Outcome
    from tasks.bisect import bisect_of

    with opened(config) as res:
        _show_ranked(res, id.upper(), diff=diff)
        if only_list:
            return
        console = out()
        with console.status("trying commits") as shown:

            def tell(text: str) -> None:
                console.print(text, markup=False, highlight=False, soft_wrap=True)
                shown.update(f"after {text.partition(':')[0]}")

            found = bisect_of(res, id.upper(), by=by or whoami(), tell=tell)
    commit = f" {found.commit}" if found.commit else ""
    text = f"{found.outcome}{commit}: {found.reason} ({len(found.trials)} trials, {found.seconds:.1f} s)"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if found.outcome is not Outcome.CONFIRMED:
        raise typer.Exit(1)


def _show_ranked(res: "Resources", id: str, *, diff: bool) -> None:
    from tasks.bisect_record import ranked_candidates
    from tasks.record import get_incident

    with res.store.reading() as tx:
        ranked = ranked_candidates(tx, get_incident(tx, id))
    rows = [
        (str(n), c.commit[:12], moment(c.change.at), c.change.instance or c.change.service, c.change.summary, c.reason)
        for n, c in enumerate(ranked, 1)
    ]
    columns = ("", "commit", "when", "where", "what", "why it may be")
    out().print(table("", columns, rows) if rows else f"no change that is linked to {id} names a commit")
    for candidate in ranked if diff else ():
        out().print(_diff_of(res, candidate), markup=False, highlight=False, soft_wrap=True)


def _diff_of(res: "Resources", candidate: "Candidate") -> str:
    from quell.adapters.git import open_repository
    from quell.incidents.errors import QuellError

    service = res.config.catalog.service(candidate.change.service)
    if service is None or service.repository is None:
        return f"{candidate.commit[:12]}: service {candidate.change.service} has no repository in services.yaml"
    git = open_repository(service.repository)
    try:
        return git.git("show", "--format=commit %h %s (%an)", git.commit(candidate.commit).id)
    except QuellError as error:
        return f"{candidate.commit[:12]}: {error}"
