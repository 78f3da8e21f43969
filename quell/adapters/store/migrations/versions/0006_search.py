"""Columns by which pages search and group: search texts of incidents and alerts, an alert's name and service."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# What is already there is found by nearly the same words; each record is exact again when it is next written.
_SQLITE = """
UPDATE alerts SET service = json_extract(body, '$.labels.service'),
    name = coalesce(json_extract(body, '$.labels.alertname'), ''),
    search = substr(lower(json_extract(body, '$.labels')), 1, 1000);
UPDATE incidents SET search = substr(lower(id || ' ' || json_extract(body, '$.title') || ' ' || service), 1, 1000)
"""
_POSTGRESQL = """
UPDATE alerts SET service = body::json->'labels'->>'service',
    name = coalesce(body::json->'labels'->>'alertname', ''),
    search = left(lower(body::json->>'labels'), 1000);
UPDATE incidents SET search = left(lower(id || ' ' || (body::json->>'title') || ' ' || service), 1000)
"""


def upgrade() -> None:
    op.add_column("alerts", sa.Column("service", PLAIN, nullable=True))
    op.add_column("alerts", sa.Column("name", PLAIN, nullable=False, server_default=""))
    for kind in ("alerts", "incidents"):
        op.add_column(kind, sa.Column("search", PLAIN, nullable=False, server_default=""))
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in (_POSTGRESQL if is_postgresql else _SQLITE).split(";"):
        op.get_bind().exec_driver_sql(statement)
    op.create_index("ix_alerts_groups", "alerts", ["incident", "service", "name", "status", "starts_at", "seq"])
    op.create_index("ix_incidents_severity_opened", "incidents", ["severity", "opened_at", "seq"])
    op.create_index("ix_incidents_service_severity", "incidents", ["service", "severity", "opened_at", "seq"])
