"""Bring a database to the form that this code needs, whoever else opens it at the same time."""

from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine, inspect, text

from quell.adapters.store.database import MIGRATION_LOCK, begin_reading, begin_writing
from quell.incidents.errors import QuellError

HEAD = "0007"  # the newest file in migrations/versions; a test holds them together
_SCRIPTS = Path(__file__).parent / "migrations"
_alembic = Lock()  # Alembic keeps its context in a module: one migration at a time in a process


class NewerDatabase(QuellError):
    """The database was written by a newer Quell: install that version, or restore the backup made before it."""


def bring_to_head(engine: Engine) -> None:
    """Upgrade if needed. One look, and no Alembic, where the database is as it should be. Raises NewerDatabase."""
    with begin_reading(engine) as connection:
        if _version(connection) == HEAD:
            return
    with _alembic, begin_writing(engine, MIGRATION_LOCK) as connection:
        version = _version(connection)
        if version != HEAD:
            _upgrade(connection, version)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise NewerDatabase(
            f"store {connection.engine.url.render_as_string(hide_password=True)} has version {version}, this Quell "
            f"knows up to {HEAD}; install the Quell that wrote it, or restore the backup made before the upgrade"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
