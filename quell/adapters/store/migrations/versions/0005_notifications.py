"""The outbox: what receivers are told, and how far that is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0005"
down_revision = "0004"

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

COLUMNS = {
    "state": (PLAIN, False),
    "kind": (PLAIN, False),
    "receiver": (PLAIN, False),
    "incident": (PLAIN, True),
    "due_at": (TIME, True),
    "created_at": (TIME, False),
    "first_tried_at": (TIME, True),
}


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("seq", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("id", PLAIN, nullable=False, unique=True),
        *(sa.Column(name, kind, nullable=optional) for name, (kind, optional) in COLUMNS.items()),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    for name in COLUMNS:
        op.create_index(f"ix_notifications_{name}", "notifications", [name, "seq"])
