"""What a command opens: configuration, store and tools, from the folder that --config or QUELL_CONFIG names."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quell.config.config import Config
    from tasks.resources import Resources

CONFIG_VARIABLE = "QUELL_CONFIG"
DEFAULT_FOLDER = Path("config")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="Configuration folder.", show_default=True)
]


@contextmanager
def opened(folder: Path) -> "Iterator[Resources]":
    """Everything that the configuration names; the store is closed at the end."""
    from quell.config.load import load_config
    from tasks.resources import open_resources

    config = load_config(folder)
    find_prefect(config, folder)
    res = open_resources(config)
    try:
        yield res
    finally:
        res.store.close()


def find_prefect(config: "Config", folder: Path) -> None:
    """Point Prefect's client at the server that the configuration names; a PREFECT_API_URL that is set wins.

    Prefect reads its settings when it is imported. Where a command has imported it before, it reads them again: without
    an address it would start a temporary server of its own, which knows none of our deployments.
    """
    os.environ[CONFIG_VARIABLE] = str(folder)
    if config.connections.prefect_ui:
        ui = config.connections.prefect_ui.rstrip("/")
        os.environ.setdefault("PREFECT_API_URL", f"{ui}/api")
        os.environ.setdefault("PREFECT_UI_URL", ui)
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
