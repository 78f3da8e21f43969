"""`quell audit`: whether the timeline is whole."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import err, out

if TYPE_CHECKING:
    from quell.incidents.timeline import TimelineEntry
    from quell.ports import Transaction

app = typer.Typer(help="Prove that the record was not changed afterwards.", no_args_is_help=True)
_PAGE = 5000


@app.callback()
def group() -> None:
    """Keeps `verify` a subcommand: with a single command Typer would leave its name out."""


@app.command()
def verify(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """Check every hash of the timeline; exit 1 when an entry was changed, deleted or put in."""
    from quell.incidents.timeline import verify_chain

    counted = 0

    def count(entries: "Iterator[TimelineEntry]") -> "Iterator[TimelineEntry]":
        nonlocal counted
        for entry in entries:
            counted += 1
            yield entry

    with opened(config) as res, res.store.reading() as tx:
        faults = verify_chain(count(_entries(tx)))
    for fault in faults:
        err().print(fault, style="red", markup=False, soft_wrap=True)
    if faults:
        err().print(f"the timeline is NOT whole: {len(faults)} faults in {counted} entries", style="bold red")
        raise typer.Exit(1)
    out().print(f"the timeline is whole: {counted} entries")


def _entries(tx: "Transaction") -> "Iterator[TimelineEntry]":
    after = 0
    while page := tx.timeline.entries(after_id=after, limit=_PAGE):
        yield from page
        after = page[-1].id
