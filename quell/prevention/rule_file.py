"""The file that a version of a limit is put into, and what it changes there: the diff that a person reviews."""

from difflib import unified_diff

from quell.incidents.threshold import ThresholdVersion


def rule_file(version: ThresholdVersion) -> str:
    """One per signal: the newer version takes the older one's place."""
    return "standing.map" if version.clients is not None else f"quell-{version.signal.replace(':', '.')}.yml"


def rule_diff(old: ThresholdVersion | None, new: ThresholdVersion) -> str:
    """As `git diff` shows it, from what it takes the place of, or from no file; empty for a limit without a rule."""
    file = rule_file(new)
    name, text = ("/dev/null", "") if old is None else (f"a/{file}", old.rule)
    lines = unified_diff(text.splitlines(), new.rule.splitlines(), name, f"b/{file}", lineterm="")
    return "".join(f"{line}\n" for line in lines)
