"""What is on record of one guard: what it was proved on, and who accepted it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

GUARD = "guard"  # the kind of document that keeps one
PROPOSED, ACCEPTED = "proposed", "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRecord:
    """One guard of one incident. `fix` is empty for a guard that people wrote without a fix of Quell's."""

    name: str
    incident: str
    fix: str
    service: str
    repository: str
    file: str  # the guard's own file in the repository
    state: str
    bad: str  # COMMIT:FILE that it fails on
    said: str  # what it says of that file
    passed: tuple[str, ...]  # the good files that it passes on
    proposed_at: datetime
    accepted_by: str = ""
    accepted_at: datetime | None = None

    @property
    def proof(self) -> str:
        return f"fails on {self.bad} ({self.said}); passes on {len(self.passed)} good files"


def guard_body(record: GuardRecord) -> dict[str, Any]:
    """The record as JSON can hold it."""
    body: dict[str, Any] = {name: getattr(record, name) for name in GuardRecord.__dataclass_fields__}
    body |= {name: at.isoformat() if (at := body[name]) else "" for name in ("proposed_at", "accepted_at")}
    return {**body, "passed": list(record.passed)}


def read_guard(body: Mapping[str, Any]) -> GuardRecord:
    """What `guard_body` wrote."""
    known = dict(body)
    known["passed"] = tuple(known["passed"])
    known["proposed_at"] = datetime.fromisoformat(known["proposed_at"])
    known["accepted_at"] = datetime.fromisoformat(known["accepted_at"]) if known["accepted_at"] else None
    return GuardRecord(**known)
