"""Lessons: how often each playbook helped against each kind of alert, how soon, and what harm it did."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from quell.incidents.mitigation import Mitigation
from quell.incidents.outcome import (
    by_playbook,
    count_outcomes,
    harm_in_words,
    has_failed,
    has_helped,
    time_to_effect,
    was_used,
)
from quell.prevention.weekly.facts import behind_mitigation
from quell.prevention.weekly.figure import Unit, count_of, mean_of, rate_of
from quell.prevention.weekly.section import Row, Section, slug, unique
from quell.prevention.weekly.times import seconds_of

BY_HAND = "asked for by a person"


def lessons_section(mitigations: Iterable[Mitigation], now: datetime, wrongly_refused: Mapping[str, int]) -> Section:
    """`mitigations` are those of the last quarter, the newest first; the autonomy ladder counts the same way."""
    groups = by_playbook(mitigations)
    return Section(
        key="playbooks",
        title="What works: playbooks by kind of alert",
        columns=("alert", "used", "success", "time to effect", "harm"),
        rows=unique(_row(*key, past, now, wrongly_refused) for key, past in groups.items()),
        empty="No playbook was used in the last thirteen weeks.",
        notes=(
            "Over thirteen weeks. Success is the share of what could be judged; time to effect is from the effect until"
            " users had recovered and that had held; harm is what was taken without helping anybody.",
        ),
    )


def _row(playbook: str, answers: str, past: tuple[Mitigation, ...], now: datetime, refused: Mapping[str, int]) -> Row:
    used = [m for m in past if was_used(m)]
    judged = [behind_mitigation(m, float(has_helped(m))) for m in used if has_helped(m) or has_failed(m)]
    took = [behind_mitigation(m, seconds_of(time_to_effect(m))) for m in used]
    key, of = f"playbooks/{slug(playbook, answers or 'by-hand')}", f"{playbook} on {answers or 'request'}"
    return Row(
        name=playbook,
        cells=(
            answers or BY_HAND,
            count_of(f"{key}.used", f"uses of {of}", map(behind_mitigation, used), n=len(past)),
            rate_of(f"{key}.success", f"success of {of}", judged),
            mean_of(f"{key}.effect", f"time to effect of {of}", Unit.SECONDS, took),
            harm_in_words(count_outcomes(past, now, refused).harm),
        ),
    )
