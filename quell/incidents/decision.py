"""A decision: what a person said to a plan, bound to the plan's hash."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Answer(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer of one person to one plan. `channel` is where it was given: prefect, page, cli, api."""

    id: str
    subject: str  # the mitigation, fix or threshold version decided on
    plan_hash: str
    person: str
    answer: Answer
    comment: str = ""
    channel: str
    at: datetime
    standing: str = ""  # where the question stood with it: "1 of 2, waiting for another person"
    code_step: int | None = None  # the time step of the one-time code, so that it works once


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may read or decide.

    `totp_secret` names where the secret is (env:NAME or file:PATH), never the secret; who has none cannot give a
    one-time code, and so cannot decide. `password_hash` is an argon2id hash or names where it is; who has none cannot
    sign in.
    """

    name: str
    full_name: str
    team: str
    roles: tuple[str, ...]
    totp_secret: str = ""
    email: str = ""
    password_hash: str = field(default="", repr=False)
