"""PostgreSQL finds a rare word among very many incidents through trigrams, where their extension may be created."""

import logging

from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0007"
down_revision = "0006"

_LOG = logging.getLogger("alembic.runtime.migration")
_STEPS = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX ix_incidents_trigrams ON incidents USING gin (search gin_trgm_ops)",
)


def upgrade() -> None:
    """Without the extension everything is found as well, only slower; SQLite is quick enough without."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    try:
        with connection.begin_nested():
            for step in _STEPS:
                connection.exec_driver_sql(step)
    except DBAPIError as error:
        why = str(error.orig).splitlines()[0]
        _LOG.info("searching stays without trigrams (%s): to have them later, run %s", why, "; ".join(_STEPS))
