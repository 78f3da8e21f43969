"""A change: a deploy or a change of configuration, as a pipeline reported it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ChangeKind(StrEnum):
    DEPLOY = "deploy"
    CONFIG = "config"
    FLAG = "flag"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`commit` names the commit in the service's configuration repository where there is one."""

    id: str
    kind: ChangeKind
    service: str
    instance: str | None = None
    at: datetime
    summary: str
    author: str = ""
    commit: str | None = None
    url: str = ""
    received_at: datetime
