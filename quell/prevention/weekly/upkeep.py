"""Playbooks kept alive, as the weekly report shows them: owner, last use, last drill, success, and what is wrong."""

from collections.abc import Iterable
from datetime import datetime

from quell.prevention.care import Care
from quell.prevention.weekly.figure import Figure, Unit
from quell.prevention.weekly.section import Row, Section, slug, unique

NEVER = "never"


def upkeep_section(cares: Iterable[Care], file_note: str = "") -> Section:
    """Those with something wrong first."""
    known = sorted(cares, key=lambda care: (not care.ailments, care.playbook))
    return Section(
        key="upkeep",
        title="Playbooks kept alive",
        columns=("owner", "last use", "last drill", "success", "what is wrong"),
        rows=unique(_row(care) for care in known),
        empty="No playbook is configured.",
        notes=(file_note,) if file_note else (),
    )


def _row(care: Care) -> Row:
    done = care.outcomes
    judged = done.effective + done.failed
    success = Figure(
        key=f"upkeep/{slug(care.playbook)}.success",
        name=f"success of {care.playbook} over all kinds of alerts",
        unit=Unit.SHARE,
        value=done.success_share,
        n=judged,
    )
    wrong = "; ".join([*(ailment.text for ailment in care.ailments), *care.gaps]) or "nothing"
    return Row(
        name=care.playbook,
        cells=(care.owner, _day(care.last_used_at), _day(care.last_drilled_at), success, wrong),
        detail="\n".join(ailment.diff for ailment in care.ailments if ailment.diff),
    )


def _day(at: datetime | None) -> str:
    return NEVER if at is None else f"{at:%Y-%m-%d}"
