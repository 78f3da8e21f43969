"""What the inbox could not read: held until a person replays or discards it."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("inbox", sa.Column("quarantine", PLAIN, nullable=True))
    op.create_index("ix_inbox_quarantine", "inbox", ["quarantine", "seq"])
    _hold_poison()


def _hold_poison() -> None:
    """Items that an earlier version set aside are held from now on."""
    inbox = sa.table("inbox", sa.column("seq"), sa.column("body"), sa.column("quarantine"))
    connection = op.get_bind()
    poison = sa.select(inbox.c.seq, inbox.c.body).where(~inbox.c.body.contains('"error":""'))
    for seq, text in connection.execute(poison).all():
        body = json.loads(text)
        if body.get("error"):
            body["quarantine"] = "held"
            changed = {"quarantine": "held", "body": json.dumps(body)}
            connection.execute(inbox.update().where(inbox.c.seq == seq).values(**changed))
