"""A look: when it is worth judging a canary again."""

_MORE = 1.1


def is_due(requests: int, at_last_look: int) -> bool:
    """A tenth more requests than at the last look: every look is one more chance to be wrong.

    >>> is_due(10, 10), is_due(11, 10), is_due(1_050, 1_000), is_due(1_100, 1_000)
    (False, True, False, True)
    """
    return requests >= at_last_look * _MORE if at_last_look else requests > 0
