"""Max-min fairness: who gets how much of what is not enough for all."""

from collections.abc import Mapping

_NOTHING: Mapping[str, float] = {}


def max_min(
    demands: Mapping[str, float], capacity: float, *, usual: Mapping[str, float] = _NOTHING
) -> Mapping[str, float]:
    """Share the capacity so that nobody can get more without somebody smaller getting less.

    Nobody gets more than it asks for, everything is given out while somebody still asks, and who asks for less than
    an even share gets all of it. What a client usually uses is its own: of `usual` each gets first what it asks for
    now, and only the rest is shared evenly. Where not even that fits, it is what is shared. Rates are in any unit,
    the same for all; negative ones count as 0.

    Source: Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2 (progressive filling).

    >>> dict(max_min({"web": 20, "mobile": 10, "importer": 400}, 100))
    {'web': 20.0, 'mobile': 10.0, 'importer': 70.0}
    >>> dict(max_min({"web": 90, "importer": 400}, 100, usual={"web": 90}))
    {'web': 90.0, 'importer': 10.0}
    """
    asked = {name: max(float(demand), 0.0) for name, demand in demands.items()}
    room = max(float(capacity), 0.0)
    own = {name: min(demand, max(usual.get(name, 0.0), 0.0)) for name, demand in asked.items()}
    if sum(own.values()) >= room:
        return _fill(own, room)
    rest = _fill({name: demand - own[name] for name, demand in asked.items()}, room - sum(own.values()))
    return {name: own[name] + rest[name] for name in asked}


def _fill(asked: Mapping[str, float], room: float) -> Mapping[str, float]:
    """Progressive filling, the smallest first: each gets what it asks for, or an even part of what is left."""
    given = dict.fromkeys(asked, 0.0)
    left = len(asked)
    for name in sorted(asked, key=lambda one: (asked[one], one)):
        given[name] = min(asked[name], room / left)
        room -= given[name]
        left -= 1
    return given
