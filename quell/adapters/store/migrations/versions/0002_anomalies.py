"""What people should look at, and the labels that they gave it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0002"
down_revision = "0001"

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

COLUMNS = {
    "series": (PLAIN, False),
    "signal": (PLAIN, False),
    "label": (PLAIN, True),
    "labelled_by": (PLAIN, True),
    "last_at": (TIME, False),
    "labelled_at": (TIME, True),
}


def upgrade() -> None:
    op.create_table(
        "anomalies",
        sa.Column("seq", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("id", PLAIN, nullable=False, unique=True),
        *(sa.Column(name, kind, nullable=optional) for name, (kind, optional) in COLUMNS.items()),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    for name in COLUMNS:
        op.create_index(f"ix_anomalies_{name}", "anomalies", [name, "seq"])
