"""A bound: the limit between what a value was while all was well and what it was in the incident."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_NAMES_ONE_OF_MANY = re.compile(r"(^|[^a-z])(port|ports|id|uid|gid|pid|version|shard|index|code)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    is_minimum: bool
    value: float

    @property
    def words(self) -> str:
        return "at least" if self.is_minimum else "at most"

    @property
    def whole(self) -> "Bound":
        """The same limit for what is counted in whole numbers.

        >>> Bound(is_minimum=False, value=0.5).whole.value, Bound(is_minimum=True, value=2.4).whole.value
        (0, 3)
        """
        return replace(self, value=math.ceil(self.value) if self.is_minimum else math.floor(self.value))


def is_identity(name: str) -> bool:
    """Whether a number only names something, so that more or less of it means nothing.

    >>> is_identity("upstream.port"), is_identity("payment_timeout_ms"), is_identity("http_port"), is_identity("report")
    (True, False, True, False)
    """
    return bool(_NAMES_ONE_OF_MANY.search(name))


def find_bound(good: float, bad: float, known: Iterable[float]) -> Bound | None:
    """The limit that the bad value breaks; `known` are values that were fine, the good one among them.

    Between the bad value and the nearest that was fine lies their geometric mean. Where history knows several values,
    it also says how far a value may sensibly go: half the least or twice the greatest of them, whichever is tighter.
    None where the bad value lies among those that were fine: then a number alone does not tell them apart.
    """
    fine = sorted({good, *known})
    low, high = fine[0], fine[-1]
    if low <= bad <= high:
        return None
    nearest = low if bad < low else high
    limit = limit_between(nearest, bad)
    if len(fine) > 1 and nearest > 0 and bad >= 0:
        limit = max(limit, _short(low / 2)) if bad < low else min(limit, _short(high * 2))
    return Bound(is_minimum=bad < low, value=limit)


def limit_between(good: float, bad: float) -> float:
    """A short number between the two, itself on the good side or on neither.

    >>> limit_between(800, 5), limit_between(0.01, 100), limit_between(0, 3), limit_between(2, 3)
    (63, 1, 1.5, 2.4)
    """
    middle = math.copysign(math.sqrt(good * bad), good) if good * bad > 0 else (good + bad) / 2
    low, high = sorted((good, bad))
    for digits in range(2, 18):
        short = float(f"{middle:.{digits}g}")
        if low < short < high:
            return int(short) if short.is_integer() else short
    return good  # neighbouring floats: only the good value itself is left


def _short(value: float) -> float:
    return int(value) if float(value).is_integer() else value
