"""Token buckets: how often somebody may do something."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from quell.incidents.errors import QuellError

_MOST_ADDRESSES = 10_000


class TooMany(QuellError):
    """Too many at once; the same will be taken later."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimit:
    """`per_minute` for each address and `overall` for all of them together; a quiet minute is saved up, no more."""

    def __init__(self, per_minute: int, overall: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._overall = overall
        self._clock = clock
        self._all = _Bucket(overall, clock())
        self._of: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, address: str) -> None:
        """Count one. Raises TooMany, which counts nothing."""
        now = self._clock()
        one = self._of.pop(address, None) or _Bucket(self._per_minute, now)
        self._of[address] = one
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)  # the longest unheard of
        for bucket, whose in ((one, "from your address"), (self._all, "in all")):
            wait = bucket.wait(now)
            if wait > 0:
                seconds = math.ceil(wait)
                text = f"more than {bucket.per_minute} reports a minute {whose}: send this one again in {seconds} s"
                raise TooMany(text, retry_after=seconds)
        one.left -= 1
        self._all.left -= 1


class _Bucket:
    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self.left = float(per_minute)
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until there is one to take."""
        self.left = min(self.per_minute, self.left + (now - self._at) * self.per_minute / 60)
        self._at = now
        return 0.0 if self.left >= 1 else (1 - self.left) * 60 / self.per_minute
