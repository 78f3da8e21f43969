"""What records of each kind can be found by: a promise of every store to those who ask it."""

from collections.abc import Mapping

# What each kind can be filtered and ordered by. States and kinds compare as text.
INDEXES: Mapping[str, tuple[str, ...]] = {
    "inbox": ("kind", "received_at", "processed_at", "quarantine"),
    "alerts": ("fingerprint", "status", "incident", "outcome", "held_by", "starts_at", "updated_at", "due_at"),
    "incidents": ("state", "service", "severity", "opened_at", "updated_at", "due_at"),
    "mitigations": ("state", "incident", "target", "service", "playbook", "created_at", "updated_at"),
    "journal": ("mitigation", "state", "intended_at"),
    "decisions": ("subject", "person", "at"),
    "fixes": ("state", "incident", "service", "updated_at"),
    "thresholds": ("state", "signal", "incident", "updated_at"),
    "changes": ("service", "at"),
    "reports": ("service", "incident", "at"),
    "reviews": ("written_at",),
    "verdicts": ("signal", "kind", "at"),
    "anomalies": ("series", "signal", "label", "labelled_by", "last_at", "labelled_at"),
    "notifications": ("state", "kind", "receiver", "incident", "due_at", "created_at", "first_tried_at"),
    "documents": ("kind", "updated_at"),
    "leases": ("holder", "expires_at"),
    "silences": ("alertmanager", "ends_at", "settled_at"),
    "footprints": ("key", "owner"),
}

# Further columns: filtered by beside indexed ones, through an index over several.
COMPANIONS: Mapping[str, tuple[str, ...]] = {"alerts": ("service", "name")}
# Kinds with a column `search`, lower-case text in which `containing` looks.
SEARCHABLE = frozenset({"alerts", "incidents"})
# Indexes over several columns, each for one question that a page asks of very many records.
COMPOUND_INDEXES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "alerts": {"groups": ("incident", "service", "name", "status", "starts_at", "seq")},
    # Without them SQLite takes the index of the severity alone, and sorts a third of all incidents.
    "incidents": {
        "severity_opened": ("severity", "opened_at", "seq"),
        "service_severity": ("service", "severity", "opened_at", "seq"),
    },
}
