"""Drilling for flows: the form, the task, and the artifact that a person reads."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, Field

from quell.incidents.drill import Drill
from tasks.artifacts import incident_link, publish, table
from tasks.drill import find_drills, ground_of, run_drill
from tasks.resources import Resources, resources

_HISTORY = 10


class DrillRequest(BaseModel):
    """Which fault, and who asks for it."""

    fault: str = Field(default="errors", description="A fault of the sandbox; `quell drill faults` lists them.")
    target: str = Field(default="", description="The instance, client or service to strike; empty: the fault's own.")
    requested_by: str = Field(default="schedule", description="Your name, not `schedule`; it stands on the timeline.")


# No retry: a drill that was broken off is scored as what it was.
@task(name="drill", task_run_name="drill {request.fault}", cache_policy=NO_CACHE)
def drill_now(request: DrillRequest) -> str:
    """Hold the drill and leave its scorecard; returns its sentence."""
    res = resources()
    ground = ground_of(res)
    named = ground.faults().get(request.fault, "")
    parameters = {named: request.target} if named and request.target else {}
    drill = run_drill(res, ground, request.fault, parameters, request.requested_by)
    publish(f"drill {drill.strike.fault}", scorecard(res, drill), "How each part of the path did, and the last drills")
    return drill.sentence


def scorecard(res: Resources, drill: Drill) -> str:
    """Markdown: the parts of this drill, and its place among the last ones of the same fault."""
    rows = [(name, part.mark, _seconds(part.seconds), part.words) for name, part in drill.parts.items()]
    with res.store.reading() as tx:
        past = [d for d in find_drills(tx) if d.strike.fault == drill.strike.fault][:_HISTORY]
    history = [(d.id, f"{d.began_at:%Y-%m-%d %H:%M}", *_history(d), d.aborted or "") for d in past]
    link = incident_link(res.config, drill.incident)
    return "\n\n".join(
        [
            f"## {drill.sentence}",
            f"by {drill.by}, {drill.began_at:%Y-%m-%d %H:%M:%S} UTC{f', {link}' if link else ''}",
            table(("part", "mark", "after", "evidence"), rows),
            "### The last drills of this fault",
            table(("drill", "when", *drill.parts, "aborted"), history),
        ]
    )


def _history(drill: Drill) -> list[str]:
    return [
        f"{part.mark} {_seconds(part.seconds)}".strip() if part.mark != "not asked" else "–"
        for part in drill.parts.values()
    ]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
