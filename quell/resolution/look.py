"""A look: when it is worth judging a canary again."""

from quell.resolution.sample import Sample

_MORE = 1.1


def is_due(now: Sample, before: Sample | None) -> bool:
    """A tenth more requests or errors than at the last look: every look is one more chance to be wrong.

    >>> last = Sample(requests=1_000, errors=10)
    >>> [is_due(Sample(requests=n, errors=e), last) for n, e in ((1_050, 10), (1_100, 10), (1_050, 11))]
    [False, True, True]
    """
    if before is None:
        return True
    return _has_grown(before.requests, now.requests) or _has_grown(before.errors, now.errors)


def _has_grown(before: int, now: int) -> bool:
    return now > before and now >= before * _MORE
