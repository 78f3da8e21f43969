"""The story of a mitigation in markdown: what is asked of a person, and what happened in the end."""

from collections.abc import Sequence

from quell.incidents.mitigation import Mitigation, Plan, Step
from quell.incidents.timeline import TimelineEntry

_MAX_STEPS_DRAWN = 30


def tell_plan(plan: Plan, plan_hash: str, effects: Sequence[str]) -> str:
    """The plan for the person who decides: effects, what it takes away, how it is undone, evidence, hash."""
    radius = plan.blast_radius
    rows = [
        ("target", plan.target),
        ("incident", plan.incident or "none"),
        ("playbook", plan.playbook),
        ("takes", f"{radius.capacity_share:.0%} of the live capacity of {radius.service}: {_names(radius.instances)}"),
        ("leaves", f"{radius.capacity_left:.0%} of its full capacity"),
        ("approval", plan.approval_reason),
        ("ends by itself after", f"{plan.expires_after.total_seconds() / 60:g} min"),
        ("plan hash", f"`{plan_hash[:16]}`"),
    ]
    return "\n\n".join(
        (
            "### Plan",
            _table(("", ""), rows),
            "**What it does**\n\n" + _numbered(effects or [step_text(step) for step in plan.steps]),
            "**How it is undone**\n\n" + _numbered(plan.undo),
            "**Evidence**\n\n" + _bullets(plan.evidence),
        )
    )


def tell_outcome(mitigation: Mitigation, entries: Sequence[TimelineEntry]) -> str:
    """How it ended, with the timeline of the mitigation as a table and as a diagram of its states."""
    own = [e for e in entries if e.subject == mitigation.id]
    rows = [(f"{e.at:%H:%M:%S}", e.kind, e.by, e.text) for e in own]
    moves = [e for e in own if e.kind.startswith("mitigation ")][-_MAX_STEPS_DRAWN:]
    summary = f"**{mitigation.id} on {mitigation.target} is {mitigation.state.replace('_', ' ')}.**"
    reason = f" {mitigation.recovery_reason}" if mitigation.recovery_reason else ""
    return "\n\n".join((summary + reason, _table(("time (UTC)", "what", "by", "why"), rows), _diagram(moves)))


def step_text(step: Step) -> str:
    params = ", ".join(f"{name} {value}" for name, value in step.params.items())
    return f"{step.actuator}: {step.action} {step.target}" + (f" ({params})" if params else "")


def short_title(plan: Plan) -> str:
    """`INC-42 isolate checkout-2`, for the name of a run."""
    actions = "+".join(dict.fromkeys(step.action for step in plan.steps))
    return " ".join(part for part in (plan.incident, actions, plan.target.partition(":")[2]) if part)


def _diagram(moves: Sequence[TimelineEntry]) -> str:
    if not moves:
        return ""
    states = [moves[0].evidence.get("from", ""), *(m.evidence.get("to", "") for m in moves)]
    lines = [f"    {one} --> {two}: {m.at:%H:%M:%S}" for one, two, m in zip(states, states[1:], moves, strict=False)]
    return "```mermaid\nstateDiagram-v2\n    direction LR\n" + "\n".join(lines) + "\n```"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    cells = ([str(c).replace("|", "\\|").replace("\n", "<br>") for c in row] for row in rows)
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)])


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "no instance"


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1)) or "_nothing_"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "_none was given_"
