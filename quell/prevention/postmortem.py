"""A post-mortem: one incident as people read it, put together from its sections, action items and sign-offs."""

from collections.abc import Iterable, Sequence

from quell.incidents.review import ActionItem, GuardWaiver, Review, Section, SignOff
from quell.prevention.draft import Facts, draft_sections
from quell.prevention.table import markdown_table

_CLOSING = (
    "_Written from the record. It asks what made the trouble possible, not who was at the keyboard: the change passed"
    " every check that there was._"
)


def write_postmortem(facts: Facts) -> str:
    """The draft as markdown (GFM with one mermaid timeline)."""
    title = f"{facts.incident.id}: {facts.incident.title}"
    return _put_together(title, draft_sections(facts), facts.action_items, facts.sign_offs, None)


def compose(review: Review) -> str:
    """The post-mortem as it stands, as markdown."""
    return _put_together(review.title, review.sections, review.action_items, review.sign_offs, review.guard_waiver)


def _put_together(
    title: str,
    sections: Sequence[Section],
    actions: Sequence[ActionItem],
    sign_offs: Sequence[SignOff],
    waiver: GuardWaiver | None,
) -> str:
    parts = [
        f"# {' '.join(title.split())}",
        *(f"## {section.title}\n\n{_text(section, waiver)}" for section in sections),
        "## Action items\n\n" + markdown_table(("id", "what", "owner", "due", "state"), [*_actions(actions)]),
        "## Sign-offs\n\n" + markdown_table(("team", "due", "signed by"), [*_sign_offs(sign_offs)]),
        _CLOSING,
    ]
    return "\n\n".join(parts) + "\n"


def _text(section: Section, waiver: GuardWaiver | None) -> str:
    text = demote_headings(section.text)
    if section.id == "guards" and waiver is not None:
        text += f"\n\nClosed without a guard, as {waiver.by} decided on {waiver.at:%Y-%m-%d}: {waiver.why}"
    return text


def demote_headings(text: str) -> str:
    """A heading inside a section must not pass for a section of its own.

    >>> demote_headings("# Why\\n\\nIt was.")
    '### Why\\n\\nIt was.'
    """
    lines, is_code = text.split("\n"), False
    for number, line in enumerate(lines):
        is_code ^= line.startswith("```")
        if not is_code and line.startswith(("# ", "## ")):
            lines[number] = f"### {line.lstrip('#').strip()}"
    return "\n".join(lines)


def _actions(items: Iterable[ActionItem]) -> Iterable[tuple[object, ...]]:
    for item in items:
        state = f"done {item.done_at:%Y-%m-%d}" if item.done_at else "open"
        url = item.export.url if item.export else ""
        yield item.id, item.text, item.owner, item.due, f"{state}, {url}" if url else state


def _sign_offs(sign_offs: Iterable[SignOff]) -> Iterable[tuple[object, ...]]:
    for sign_off in sign_offs:
        at = f" on {sign_off.at:%Y-%m-%d}" if sign_off.at else ""
        said = f": {sign_off.comment}" if sign_off.comment else ""
        yield sign_off.team, sign_off.due, f"{sign_off.person}{at}{said}" if sign_off.person else "not yet"
