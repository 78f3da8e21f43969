"""The story of a mitigation in markdown: the plan, what is asked of a person, and what happened in the end."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from quell.incidents.gantt import Bar, gantt
from quell.incidents.mitigation import BlastRadius, Mitigation, MitigationState, Plan, Step
from quell.incidents.timeline import TimelineEntry

_MAX_STATES_DRAWN = 30
_LONGEST_REASON = 240  # the form must stay above the fold
_BAD = (MitigationState.INEFFECTIVE, MitigationState.INCONCLUSIVE, MitigationState.UNDO_FAILED)


def tell_plan(plan: Plan, plan_hash: str, effects: Sequence[str], incident: str = "", chart: str = "") -> str:
    """The whole plan: effects, what it takes away, how it is undone, evidence. `incident` is its markdown link.

    `chart` is a markdown image of the users' signal; empty where nothing is known of it.
    """
    radius = plan.blast_radius
    rows = [
        ("incident", incident or plan.incident or "none"),
        ("target", plan.target),
        ("playbook", plan.playbook),
        ("takes", f"{radius.capacity_share:.0%} of the live capacity of {radius.service}: {_names(radius.instances)}"),
        ("leaves", f"{radius.capacity_left:.0%} of its full capacity{load_text(radius)}"),
        ("approval", plan.approval_reason),
        ("ends by itself", f"after {plan.expires_after.total_seconds() / 60:g} min"),
        ("plan hash", f"`{plan_hash[:16]}`"),
    ]
    parts = (
        f"### Plan: {_action(plan)}",
        _table(("", ""), rows),
        "#### What it does\n\n" + _numbered(_staged(plan, effects)),
        "#### How it is undone\n\n" + _numbered(plan.undo),
        "#### Evidence\n\n" + _bullets(plan.evidence),
        chart,
    )
    return "\n\n".join(part for part in parts if part)


def tell_question(
    mitigation: Mitigation,
    effects: Sequence[str],
    deadline: datetime,
    *,
    incident: str = "",
    failed: int = 0,
    standing: str = "",
    chart: str = "",
) -> str:
    """What the person who decides must know, short enough to stand above the form, with who has agreed so far.

    `chart` is a markdown image of the users' signal, which stands last, right above the form.
    """
    plan = mitigation.plan
    radius = plan.blast_radius
    what = "; ".join(_plain(effect) for effect in effects) or _action(plan)
    why = _plain(plan.evidence[0]) if plan.evidence else "no evidence was given"
    lines = [
        f"**{mitigation.id}: {what}**",
        f"- **For** {incident or plan.incident or 'no incident'}, asked by {_plain(mitigation.requested_by)}",
        f"- **Why** {_short(why)}",
        f"- **Takes** {radius.capacity_share:.0%} of the live capacity of {radius.service}, leaves"
        f" {radius.capacity_left:.0%} of all{load_text(radius)}",
        f"- **Undo** {'; '.join(_plain(text) for text in plan.undo) or 'nothing to undo'}; by itself after"
        f" {plan.expires_after.total_seconds() / 60:g} min",
        f"- **Until** {deadline:%H:%M:%S} UTC; plan `{mitigation.plan_hash[:16]}`",
    ]
    if standing:
        lines.append(f"- **Approvals** {_plain(standing)}")
    if failed:
        lines.append(f"- **Not accepted so far: {failed}** (this run's log says why)")
    return "\n\n".join(part for part in (lines[0], "\n".join(lines[1:]), chart) if part)


def tell_outcome(
    mitigation: Mitigation, entries: Sequence[TimelineEntry], *, incident: str = "", chart: str = ""
) -> str:
    """How it ended, with the time in each state, the signal, and the mitigation's part of the timeline."""
    own = [e for e in entries if e.subject == mitigation.id]
    last = _plain(next((e.text for e in reversed(own) if e.kind.startswith("mitigation ")), ""))
    rows = [(f"{e.at:%H:%M:%S}", e.kind, e.by, e.text) for e in own]
    judged = mitigation.recovery_reason
    parts = [
        f"## {mitigation.id} ({_action(mitigation.plan)}) is {mitigation.state.replace('_', ' ')}",
        " · ".join(part for part in (incident, f"playbook {mitigation.playbook}", _agreed(mitigation)) if part),
        f"{last[:1].upper()}{last[1:]}." if last else "",
        f"Judged: {_plain(judged)}." if judged and judged not in last else "",
        gantt([(mitigation.id, _states(own))]),
        chart,
        "### Timeline\n\n" + _table(("time (UTC)", "what", "by", "why"), rows),
    ]
    return "\n\n".join(part for part in parts if part)


def load_text(radius: BlastRadius) -> str:
    """`; what remains takes 1.5 times its load of now`, where something is taken."""
    if radius.capacity_share <= 0:
        return ""
    factor = radius.load_on_rest
    return f"; what remains takes {factor:.3g} times its load of now" if factor else "; nothing remains"


def step_text(step: Step) -> str:
    params = ", ".join(f"{name} {value}" for name, value in step.params.items())
    return f"{step.actuator}: {step.action} {step.target}" + (f" ({params})" if params else "")


def short_title(plan: Plan) -> str:
    """`INC-42 isolate checkout-2`, for the name of a run."""
    return " ".join(part for part in (plan.incident, _action(plan)) if part)


def _staged(plan: Plan, effects: Sequence[str]) -> list[str]:
    """What each step does, with those marked that are done together with the one before."""
    texts = effects or [step_text(step) for step in plan.steps]
    pairs = zip(plan.steps, texts, strict=True)
    return [f"{text} _(side by side with the one before)_" if step.with_previous else text for step, text in pairs]


def _action(plan: Plan) -> str:
    actions = "+".join(dict.fromkeys(step.action for step in plan.steps))
    return f"{actions} {plan.target.partition(':')[2]}".strip()


def _agreed(mitigation: Mitigation) -> str:
    if mitigation.approved_by:
        return f"approved by {_plain(mitigation.approved_by)}"
    return "needed approval, had none" if mitigation.plan.needs_approval else "allowed automatically"


def _states(own: Sequence[TimelineEntry]) -> list[Bar]:
    """How long it was in each state; of states of less than a second only the bad ones are shown, as moments."""
    moves = [e for e in own if e.kind.startswith("mitigation ")][-_MAX_STATES_DRAWN:]
    bars: list[Bar] = []
    for move, after in zip(moves, [*moves[1:], None], strict=True):
        state = move.evidence.get("to", "") or move.kind.removeprefix("mitigation ")
        name, is_bad = state.replace("_", " "), state in _BAD
        if after is not None and after.at - move.at >= timedelta(seconds=1):
            label = f"{name} {_span(after.at - move.at)}"
            bars.append(Bar(label=label, start=move.at, end=after.at, is_bad=is_bad))
        elif after is None or is_bad:
            bars.append(Bar(label=name, start=move.at, is_bad=is_bad))
    return bars


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    cells = ([c.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>") for c in row] for row in rows)
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)])


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "no instance"


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1)) or "_nothing_"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines) or "_none was given_"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON].rpartition(" ")[0] + " …"


def _plain(text: str) -> str:
    """Words from outside on one line, without what markdown would read as markup of its own."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "(").replace("]", ")").replace("*", "\\*")
