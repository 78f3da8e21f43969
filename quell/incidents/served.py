"""A served request: one line of a load balancer's log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """`id` is unique in the log, `server` is `backend/server`, `seconds` is what the customer waited."""

    id: str
    server: str
    status: int
    seconds: float
