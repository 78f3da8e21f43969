"""A report: a user says that something is wrong."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    id: str
    text: str
    service: str | None = None
    reporter: str = ""
    at: datetime
    incident: str | None = None
