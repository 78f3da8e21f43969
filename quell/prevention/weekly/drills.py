"""Drills of the week: how many of each fault were held and passed, and how fast the whole path was."""

from collections.abc import Iterable, Sequence

from quell.incidents.drill import Drill, Mark
from quell.prevention.weekly.figure import Behind, BehindKind, Figure, Unit, mean_of, share_of
from quell.prevention.weekly.section import Row, Section, slug, unique


def drills_section(drills: Iterable[Drill]) -> Section:
    """By fault; those with a part that failed first. A drill that was ended early has passed nothing."""
    by_fault: dict[str, list[Drill]] = {}
    for drill in drills:
        by_fault.setdefault(drill.strike.fault, []).append(drill)
    worst_first = sorted(by_fault.items(), key=lambda pair: (all(one.is_passed for one in pair[1]), pair[0]))
    return Section(
        key="drills",
        title="Drills",
        columns=("passed", "detected after", "resolved after", "what failed"),
        rows=unique(_row(fault, held) for fault, held in worst_first),
        empty="No drill was held in this week.",
    )


def _row(fault: str, held: Sequence[Drill]) -> Row:
    name = slug(fault)
    passed = [_behind(drill, 1.0) for drill in held if drill.is_passed]
    failed = "; ".join(drill.sentence for drill in held if not drill.is_passed) or "nothing"
    return Row(
        name=fault,
        cells=(
            share_of(f"drills/{name}.passed", f"drills of {fault} that passed", passed, n=len(held)),
            _seconds(f"drills/{name}.detected", f"{fault} detected after", "detected", held),
            _seconds(f"drills/{name}.resolved", f"{fault} resolved after", "resolved", held),
            failed,
        ),
    )


def _seconds(key: str, name: str, part: str, held: Sequence[Drill]) -> Figure:
    """The mean over the drills in which that part went well."""
    told = [(drill, drill.parts[part]) for drill in held if part in drill.parts]
    gave = [_behind(drill, one.seconds) for drill, one in told if one.mark is Mark.YES]
    return mean_of(key, name, Unit.SECONDS, gave)


def _behind(drill: Drill, value: float | None) -> Behind:
    return Behind(kind=BehindKind.DRILL, id=drill.id, value=value, incident=drill.incident)
