"""`quell suspects DIR`: the triage ranking on exported metrics, without touching anything."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.terminal import err, out, table

if TYPE_CHECKING:
    from quell.incidents.suspect import Suspect


def suspects(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with normal.csv and abnormal.csv (or Parquet).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Rank the components most likely at the root of an incident, from metrics before and during it.

    DIR holds normal.csv and abnormal.csv (or .parquet): a time in the first column, then one column per metric, named
    node/metric (the last slash separates). Optional: graph.csv (caller,callee), target.json ({"node", "metric"}) and
    changes.json (a list of {"service", "at", "summary"}). Nobody is named when nothing stands out.
    """
    from quell.adapters.metrics.incident_files import read_incident
    from quell.triage.rootcause.ranking import rank_nodes

    found = read_incident(folder)
    for warning in found.warnings:
        err().print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    ranked = rank_nodes(
        found.normal, found.abnormal, calls=found.calls, target=found.target, changes=found.changes
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"suspects": [_row(suspect) for suspect in ranked]}, indent=1, ensure_ascii=False))
    elif not ranked:
        out().print("nobody stands out: no component left its normal behaviour clearly enough to be named")
    else:
        rows = [(str(place), s.node, s.metric, f"{s.score:.2f}", s.reason) for place, s in enumerate(ranked, 1)]
        out().print(table("Suspects", ("", "node", "metric", "score", "reason"), rows))


def _row(suspect: "Suspect") -> dict[str, object]:
    row: dict[str, object] = {
        "node": suspect.node, "metric": suspect.metric, "score": suspect.score, "reason": suspect.reason
    }  # fmt: skip
    return row | ({"change": suspect.change} if suspect.change else {})
