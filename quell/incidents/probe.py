"""A probe: what an instance answers when it is asked directly, past the load balancer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """`status` is the HTTP status and `seconds` the time to the answer; `error` says why there was none."""

    status: int | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def is_well(self) -> bool:
        """A 2xx. Anything else is not: a 404 says that the path is wrong, which proves no health."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def words(self) -> str:
        """
        >>> Answered(status=500, seconds=0.004).words
        'HTTP 500'
        """
        return self.error or f"HTTP {self.status}"
