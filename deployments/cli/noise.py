"""`quell noise`: alert rules on which nobody ever acts, with a proposed cure."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import out, span, table

if TYPE_CHECKING:
    from quell.triage.noise import NoisyRule


def noise(
    days: Annotated[int, typer.Option(min=1, help="How far to look back.")] = 28,
    all_rules: Annotated[bool, typer.Option("--all", help="Also rules on which somebody acted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Rules that alerted at least three times and on which nobody ever acted, the noisiest first."""
    from datetime import timedelta

    from tasks.noise import find_noise

    with opened(config) as res:
        found = [rule for rule in find_noise(res, timedelta(days=days)) if all_rules or rule.is_noise]
    if as_json:
        typer.echo(json.dumps([_plain(rule) for rule in found], ensure_ascii=False))
        return
    rows = [
        (
            *(rule.alertname, rule.service, str(rule.episodes), str(rule.incidents), str(rule.acted)),
            *(f"{rule.dismissed_share:.0%}", span(rule.typical), rule.cure if rule.is_noise else ""),
        )
        for rule in found
    ]
    columns = ("alert", "service", "episodes", "incidents", "acted on", "dismissed", "median length", "cure")
    out().print(table("", columns, rows) if rows else f"no noise in {days} days")


def _plain(rule: "NoisyRule") -> dict[str, Any]:
    return {
        "alertname": rule.alertname,
        "service": rule.service,
        "episodes": rule.episodes,
        "incidents": rule.incidents,
        "acted": rule.acted,
        "dismissed_share": rule.dismissed_share,
        "median_seconds": None if rule.typical is None else rule.typical.total_seconds(),
        "is_noise": rule.is_noise,
        "cure": rule.cure,
    }
