"""The record: a table for each kind, the timeline that nobody can rewrite, and the numbers."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None

PLAIN = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

# kind: its indexed fields; `@` marks a time, `?` what may be unset.
KINDS = {
    "inbox": "kind received_at@ processed_at@?",
    "alerts": "fingerprint status incident? outcome? starts_at@ updated_at@",
    "incidents": "state service severity opened_at@ updated_at@",
    "mitigations": "state incident? target service playbook created_at@ updated_at@",
    "journal": "mitigation state intended_at@",
    "decisions": "subject person at@",
    "fixes": "state incident service updated_at@",
    "thresholds": "state signal incident? updated_at@",
    "changes": "service at@",
    "reports": "service? incident? at@",
    "reviews": "written_at@",
    "verdicts": "signal kind at@",
    "documents": "kind updated_at@",
    "leases": "holder expires_at@",
}


def upgrade() -> None:
    for kind, fields in KINDS.items():
        _create_records(kind, fields.split())
    _create_timeline()
    op.create_table(
        "sequences",
        sa.Column("prefix", PLAIN, primary_key=True),
        sa.Column("value", COUNTER, nullable=False),
    )


def _create_records(kind: str, fields: list[str]) -> None:
    columns: list[sa.Column[Any]] = [
        sa.Column("seq", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("id", PLAIN, nullable=False, unique=True),
    ]
    columns += [sa.Column(f.rstrip("@?"), TIME if "@" in f else PLAIN, nullable="?" in f) for f in fields]
    columns.append(sa.Column("body", sa.Text, nullable=False))
    if kind == "documents":
        columns.append(sa.Column("blob", sa.LargeBinary, nullable=False))
    op.create_table(kind, *columns, sqlite_autoincrement=True)
    for field in (f.rstrip("@?") for f in fields):
        op.create_index(f"ix_{kind}_{field}", kind, [field, "seq"])


def _create_timeline() -> None:
    plain = [sa.Column(name, PLAIN, nullable=False) for name in ("kind", "by", "text")]
    hashes = [sa.Column(name, PLAIN, nullable=False) for name in ("previous", "hash", "chain")]
    op.create_table(
        "timeline",
        sa.Column("id", COUNTER, primary_key=True, autoincrement=False),
        sa.Column("incident", PLAIN, nullable=False),
        sa.Column("number", COUNTER, nullable=False),
        sa.Column("at", TIME, nullable=False),
        *plain,
        sa.Column("subject", PLAIN),
        sa.Column("evidence", sa.Text, nullable=False),
        *hashes,
    )
    op.create_index("ix_timeline_incident", "timeline", ["incident", "number"], unique=True)
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER timeline_no_{verb.lower()} BEFORE {verb} ON timeline "
        "BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION timeline_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the timeline is append-only'; END $$",
        *(
            f"CREATE TRIGGER timeline_no_{verb.lower()} BEFORE {verb} ON timeline "
            "FOR EACH STATEMENT EXECUTE FUNCTION timeline_is_append_only()"
            for verb in ("UPDATE", "DELETE", "TRUNCATE")
        ),
    ],
}
