"""`quell check`: whether the configuration is right, and with --live whether the world is as it says."""

from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import err, out, table

if TYPE_CHECKING:
    from deployments.cli.finding import Finding


def check(
    config: ConfigOption = DEFAULT_FOLDER,
    live: Annotated[bool, typer.Option("--live", help="Ask Prometheus, HAProxy, git and the store as well.")] = False,
) -> None:
    """Check the configuration folder; exit 1 with file, line and key of every problem."""
    from deployments.cli.check_live import check_live
    from quell.adapters.actuators.plugins import open_actuators
    from quell.adapters.guards import load_guards
    from quell.config.load import load_config, read_config
    from quell.config.problem import ConfigError
    from quell.config.rollout_check import rollout_hints

    try:
        read = load_config(config) if live else read_config(config)
        open_actuators(read)
    except ConfigError as error:
        for problem in error.problems:
            err().print(str(problem), style="red", markup=False, soft_wrap=True)
        count = len(error.problems)
        err().print(f"{count} problem{'s' if count != 1 else ''} in {config}", style="bold red")
        raise typer.Exit(1) from error
    load_guards(config / "guards")
    out().print(
        f"{config}: {len(read.catalog.services)} services with {len(read.catalog.instances)} instances, "
        f"{len(read.signals)} signals, {len(read.playbooks)} playbooks, {len(read.people)} people: in order",
        markup=False,
        soft_wrap=True,
    )
    for hint in rollout_hints(read.catalog):
        out().print(f"hint: {hint}", style="yellow", markup=False, soft_wrap=True)
    if live:
        _report(list(check_live(read)))


def _report(findings: "list[Finding]") -> None:
    rows = [("ok" if f.is_ok else "WRONG", f.part, f.subject, f.text) for f in findings]
    made = table("", ("", "part", "what", "found"), rows)
    for row, finding in zip(made.rows, findings, strict=True):
        row.style = None if finding.is_ok else "red"
    out().print(made)
    wrong = sum(not f.is_ok for f in findings)
    if wrong:
        err().print(f"{wrong} of {len(findings)} checks failed", style="bold red")
        raise typer.Exit(1)
    out().print(f"all {len(findings)} checks passed", style="green")
