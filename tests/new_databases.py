"""A new SQLite database begins as a copy of one that the migrations made, as they take longer than most tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from sqlalchemy import Engine

from quell.adapters.store import sql
from quell.adapters.store.migrate import bring_to_head


@contextmanager
def migrated_once(folder: Path) -> Iterator[None]:
    """In this process only: what a test starts brings its new databases to the form of the code by itself."""
    template = folder / "new.db"
    sql.SqlStore(f"sqlite:///{template}").close()

    def copied_to_head(engine: Engine) -> None:
        if engine.dialect.name == "sqlite":
            _copy(template, Path(engine.url.database or "").expanduser())
        bring_to_head(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "bring_to_head", copied_to_head)
        yield


@contextmanager
def every_migration() -> Iterator[None]:
    """New databases are made by the migrations meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "bring_to_head", bring_to_head)
        yield


def _copy(template: Path, database: Path) -> None:
    """A database that is there stays as it is, also one that another thread or process is just making."""
    if database.exists():
        return
    with suppress(OSError), NamedTemporaryFile(dir=database.parent, prefix="new-", suffix=".db") as copy:
        shutil.copyfile(template, copy.name)
        Path(copy.name).chmod(0o644)
        os.link(copy.name, database)
