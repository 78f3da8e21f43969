"""Release: how what was taken out comes back, a little at a time, and what stops it on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_FEWEST_ERRORS = 2  # one error is no pattern
_MOST_ERRORS = 0.05  # share of a server's answers that may be errors while it comes back


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRule:
    """`shares` of the full weight, rising, each for `hold` before the next; the last step is everything.

    Without shares all comes back at once.
    """

    shares: tuple[float, ...] = ()
    hold: timedelta = timedelta(seconds=10)

    def after(self, share: float) -> float | None:
        """The next share; None when only the whole is left."""
        return next((one for one in self.shares if one > share), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a server answered since its load balancer started."""

    requests: int
    errors: int

    def since(self, before: "Answers") -> "Answers":
        """What was answered after `before`; a counter that fell began anew."""
        if self.requests < before.requests or self.errors < before.errors:
            return self
        return Answers(requests=self.requests - before.requests, errors=self.errors - before.errors)


def trouble_of(before: Mapping[str, Answers], now: Mapping[str, Answers]) -> str:
    """What speaks against going on, in words; empty when nothing does.

    Few requests prove nothing, so they do not stop it: the share is small, and the next look sees more.
    """
    for server, seen in now.items():
        new = seen.since(before.get(server, seen))
        if new.errors >= _FEWEST_ERRORS and new.errors > _MOST_ERRORS * new.requests:
            return f"{server} answered {new.errors} of {new.requests} requests with errors, at most 5% may be"
    return ""
