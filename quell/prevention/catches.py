"""Catches in words: each incident of a history, and how much earlier or later a new limit would have fired."""

from quell.prevention.backtest import Backtest, Catch


def catches_in_words(new_limit: Backtest, old_limit: Backtest | None) -> str:
    """Each incident: when the new limit would have fired, and how much earlier or later than today's."""
    before = {c.incident: c for c in old_limit.catches} if old_limit else {}
    said = [_catch_in_words(new, before.get(new.incident)) for new in new_limit.catches]
    return ", ".join(said) or "no incident in this history"


def _catch_in_words(new: Catch, old: Catch | None) -> str:
    """
    >>> from datetime import timedelta
    >>> minute = timedelta(minutes=1)
    >>> _catch_in_words(Catch(incident="INC-1", after=minute), Catch(incident="INC-1", after=3 * minute))
    'INC-1 after 60 s (120 s earlier than today)'
    >>> _catch_in_words(Catch(incident="INC-1", after=None), Catch(incident="INC-1", after=minute))
    'INC-1 not (after 60 s today)'
    """
    text = f"{new.incident} not" if new.after is None else f"{new.incident} after {new.after.total_seconds():.0f} s"
    if old is None:
        return text
    if old.after is None:
        return f"{text} ({'as' if new.after is None else 'not'} today)"
    if new.after is None:
        return f"{text} (after {old.after.total_seconds():.0f} s today)"
    gained = (old.after - new.after).total_seconds()
    if not gained:
        return f"{text} (as today)"
    return f"{text} ({abs(gained):.0f} s {'earlier' if gained > 0 else 'later'} than today)"
