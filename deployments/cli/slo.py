"""`quell slo`: objectives, and their burn rate alerts as Prometheus rules."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import out

app = typer.Typer(help="Service level objectives and their burn rate alerts.", no_args_is_help=True)


@app.command()
def rules(
    signal: Annotated[str, typer.Option(help="Only this signal; by default every one with an slo.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a file instead of printing.")] = None,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Recording and alerting rules that say the same as the sweep, for Prometheus to evaluate."""
    from quell.adapters.rules import check_rules, place_file, write_rules
    from quell.config.burn_windows import burn_windows
    from quell.config.load import load_config
    from quell.detection.burn_rules import slo_rules
    from quell.incidents.errors import NotFound

    signals = load_config(config).signals
    if signal and signal not in signals:
        raise NotFound(f"signal {signal} is not in signals.yaml; it defines {', '.join(sorted(signals))}")
    chosen = [signals[signal]] if signal else [s for s in signals.values() if s.slo is not None]
    if not chosen:
        raise NotFound("no signal has an slo: add slo: {objective: 0.999, period: 30d} to one in signals.yaml")
    groups = [group for one in chosen for group in slo_rules(one, burn_windows())["groups"]]
    text = write_rules({"groups": groups})
    if output is None:
        typer.echo(text, nl=False)
        return
    place_file(output, text)
    out().print(f"{output}: {check_rules(output).strip()}", markup=False, soft_wrap=True)
