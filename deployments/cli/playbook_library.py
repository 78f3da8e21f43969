"""`quell playbook library` and `add`: the playbooks that come with Quell, to copy and to make one's own."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import err, out, table

_DEPLOYMENTS = Path(__file__).resolve().parents[1]
FOLDERS = (_DEPLOYMENTS / "config.example" / "playbooks", _DEPLOYMENTS / "playbooks")


def library() -> dict[str, Path]:
    """Name -> file of every playbook that comes with Quell."""
    return {file.stem: file for folder in FOLDERS for file in sorted(folder.glob("*.yaml"))}


def show_library(config: ConfigOption = DEFAULT_FOLDER) -> None:
    """The playbooks that come with Quell; `quell playbook add NAME` copies one into the configuration."""
    import yaml

    have = {file.name for file in (config / "playbooks").glob("*.yaml")}
    rows: list[tuple[str, str, str, str]] = []
    for name, file in sorted(library().items()):
        body = yaml.safe_load(file.read_text())
        rows.append((name, body["target_kind"], body["description"], "yes" if file.name in have else ""))
    out().print(table("", ("playbook", "acts on", "what it does", "yours"), rows))


def add(
    name: Annotated[str, typer.Argument(help="As `quell playbook library` names it.")],
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Copy a playbook into the configuration. Where it does not fit yet it is put beside it, with what to mend."""
    from quell.adapters.actuators.plugins import open_actuators
    from quell.config.load import read_config
    from quell.config.problem import ConfigError, not_defined
    from quell.incidents.errors import InvalidInput

    known = library()
    if name not in known:
        raise InvalidInput(not_defined("playbook", name, known))
    file = config / "playbooks" / f"{name}.yaml"
    if file.exists():
        raise InvalidInput(f"{file} exists: it is yours, and stays as it is")
    read_config(config)  # what was wrong before is told as such
    file.parent.mkdir(exist_ok=True)
    file.write_text(known[name].read_text())
    try:
        open_actuators(read_config(config))
    except ConfigError as error:
        draft = file.rename(file.with_suffix(".yaml.draft"))
        for problem in error.problems:
            err().print(str(problem), style="red", markup=False, soft_wrap=True)
        text = f"it does not fit your configuration yet and is not in use: mend {draft}, then name it {file.name}"
        err().print(text, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    out().print(f"{file} is in use after the next start of Quell; read it, its limits are yours to set", markup=False)
