"""`quell fix`: the fixes of incidents: see them, ask for one of your own, take one back."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import moment, out, state, table, whoami
from quell.incidents.errors import NotFound

if TYPE_CHECKING:
    from quell.incidents.fix import Fix
    from tasks.forms import FixRequest
    from tasks.resources import Resources

app = typer.Typer(
    help="List fixes, set a value or undo a commit as a reviewed fix, take one back.", no_args_is_help=True
)
IncidentArgument = Annotated[str, typer.Argument(metavar="INCIDENT", help="The incident it mends, as in INC-7.")]
FixArgument = Annotated[str, typer.Argument(metavar="FIX", help="Fix id, as in FIX-2.")]
OfOption = Annotated[str, typer.Option("--of", help="Instance or service whose file it is; by default the incident's.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it goes into the commit and above the approver's form.")]
ByOption = Annotated[str, typer.Option("--by", help="Who asks for it; by default the login name.")]


@app.command("list")
def list_fixes(
    incident: Annotated[str, typer.Option(help="Only of this incident.")] = "", config: ConfigOption = DEFAULT_FOLDER
) -> None:
    """Fixes, those that changed last first: what each does, who asked and who agreed."""
    where = {"incident": incident.upper()} if incident else None
    with opened(config) as res, res.store.reading() as tx:
        rows = [
            (f.id, state(f.state), f.incident, f.instance or f.service, f.deed, f.requested_by, f.approved_by or "-",
             moment(f.updated_at))
            for f in tx.fixes.find(where, order="updated_at", descending=True, limit=200)
        ]  # fmt: skip
    columns = ("id", "state", "incident", "of", "does", "asked by", "approved by", "changed")
    out().print(table("", columns, rows) if rows else "no fixes")


@app.command()
def show(fix: FixArgument, config: ConfigOption = DEFAULT_FOLDER) -> None:
    """One fix: what it does and why, its guard and canary, who may approve it, the diff."""
    from tasks.question import question_about

    with opened(config) as res, res.store.reading() as tx:
        found = tx.fixes.get(fix.upper())
        if found is None:
            raise NotFound(f'fix "{fix}" does not exist; `quell fix list` lists those that do')
        _print(found)
        question = question_about(res, tx, found.id)
        if question.is_open:
            who = " or ".join(question.owners or question.roles)
            out().print(f"waits for {who}: quell approve {found.id} --person NAME", markup=False, soft_wrap=True)


@app.command("set")
def set_value(
    incident: IncidentArgument,
    key: Annotated[str, typer.Argument(help="The key, with dots: upstreams.payment.timeout_ms.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
    reason: ReasonOption,
    of: OfOption = "",
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Set one value in a file of the repository, as a fix: validated, guarded, approved by the owner, on a canary."""
    from tasks.forms import FixRequest

    _ask(config, incident, FixRequest(place=of, key=key, value=value, reason=reason, requested_by=by or whoami()))


@app.command()
def undo(
    incident: IncidentArgument,
    commit: Annotated[str, typer.Argument(help="The commit to undo.")],
    reason: ReasonOption,
    of: OfOption = "",
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Undo a commit of your choice, as a fix, where Quell found none or another."""
    from tasks.forms import FixRequest

    _ask(config, incident, FixRequest(place=of, commit=commit, reason=reason, requested_by=by or whoami()))


@app.command()
def revert(
    fix: FixArgument,
    why: Annotated[str, typer.Option(help="Goes on the timeline.")] = "taken back by hand",
    by: ByOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Take a fix back, in git and in what runs; its incident goes to a person. It needs no Prefect."""
    from quell.incidents.errors import Conflict, Unavailable
    from quell.incidents.fix import FixState
    from tasks.resolution import roll_back_of

    with opened(config) as res:
        with res.store.reading() as tx:
            found = tx.fixes.get(fix.upper())
        if found is None:
            raise NotFound(f'fix "{fix}" does not exist; `quell fix list` lists those that do')
        if found.state is FixState.REVERTED and not found.taking_back:
            raise Conflict(f"{found.id} is taken back already: {found.canary_result}")
        with out().status(f"{found.id} is taken back"):
            ended = roll_back_of(res, found.id, f"{by or whoami()}: {why}")
        if ended.taking_back:
            raise Unavailable(f"{ended.id}: {ended.canary_result}; what is left is tried again by reconcile")
        out().print(f"{ended.id} is {state(ended.state)}: git and what runs are as before it", soft_wrap=True)


def _ask(config: str, incident: str, request: "FixRequest") -> None:
    """Build it, show it, and start the run that waits for the owner; one whose run cannot be started does not stay."""
    from tasks.resolution import prepare_fix_of, roll_back_of
    from tasks.runs import run_url
    from tasks.waking import start_fix_run

    with opened(config) as res:
        with out().status("building the fix on a branch of its own"):
            fix = prepare_fix_of(res, incident.upper(), request)
        if fix is None:
            raise NotFound(_last_word(res, incident.upper()))
        _print(fix)
        try:
            run = start_fix_run(fix)
        except Exception as error:
            roll_back_of(res, fix.id, f"its run could not be started: {error}")
            raise
        out().print(f"{fix.id} runs: {run_url(run)}", markup=False, soft_wrap=True)
        out().print(f"it waits for somebody else's approval: quell approve {fix.id} --person NAME", markup=False)


def _last_word(res: "Resources", incident: str) -> str:
    """Why a fix that was asked for could not be built."""
    from tasks.rollback import HANDED_OVER

    with res.store.reading() as tx:
        entries = tx.timeline.of(incident, limit=20)
    return next((e.text for e in reversed(entries) if e.kind == HANDED_OVER), "the fix could not be built")


def _print(fix: "Fix") -> None:
    console = out()
    console.print(f"[bold]{fix.id}[/] for {fix.incident}, {state(fix.state)}")
    asked = f"asked for by {fix.requested_by}{f': {fix.reason}' if fix.reason else ''}"
    for line in (f"{fix.deed} in {fix.file}", asked, f"guard: {fix.guard_proof or 'none yet'}", fix.canary_result):
        if line:
            console.print(line, markup=False, soft_wrap=True)
    console.print(fix.diff.rstrip(), markup=False, soft_wrap=True)
