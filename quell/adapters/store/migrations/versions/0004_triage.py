"""Silences, the footprints by which triage finds related incidents, and what the clock has to look at."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0004"
down_revision = "0003"

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

NEW = {
    "silences": {"alertmanager": (PLAIN, True), "ends_at": (TIME, False), "settled_at": (TIME, True)},
    "footprints": {"key": (PLAIN, False), "owner": (PLAIN, False)},
}
MORE = {"alerts": {"held_by": PLAIN, "due_at": TIME}, "incidents": {"due_at": TIME}}


def upgrade() -> None:
    for kind, columns in NEW.items():
        op.create_table(
            kind,
            sa.Column("seq", COUNTER, primary_key=True, autoincrement=True),
            sa.Column("id", PLAIN, nullable=False, unique=True),
            *(sa.Column(name, type_, nullable=optional) for name, (type_, optional) in columns.items()),
            sa.Column("body", sa.Text, nullable=False),
            sqlite_autoincrement=True,
        )
        for name in columns:
            op.create_index(f"ix_{kind}_{name}", kind, [name, "seq"])
    for kind, added in MORE.items():
        for name, type_ in added.items():
            op.add_column(kind, sa.Column(name, type_, nullable=True))
            op.create_index(f"ix_{kind}_{name}", kind, [name, "seq"])
