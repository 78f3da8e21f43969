"""A post-mortem written anew: the record's facts are new, and everything that people did to it stays."""

from collections.abc import Sequence
from dataclasses import replace

from quell.incidents.review import ActionItem, Review, Section, SignOff
from quell.prevention.action_item import next_number
from quell.prevention.review_edit import unsigned


def rewrite(earlier: Review | None, drafted: Review) -> Review:
    """The drafted review with what people did to the earlier one.

    Words, assignments, comments, signatures, dates and items stay. Where the incident was reopened meanwhile, the
    teams sign again, and a waived guard is asked for again: both were said of another end.
    """
    if earlier is None:
        return drafted
    is_reopened = drafted.reopened != earlier.reopened
    sections = merge_sections(earlier.sections, drafted.sections)
    sign_offs = _merge_sign_offs(earlier.sign_offs, drafted.sign_offs)
    actions = _merge_actions(earlier, drafted.action_items)
    is_same = [s.text for s in sections] == [s.text for s in earlier.sections]
    return replace(
        drafted,
        sections=sections,
        sign_offs=unsigned(sign_offs) if is_reopened else sign_offs,
        action_items=actions,
        comments=earlier.comments,
        guard_waiver=None if is_reopened else earlier.guard_waiver,
        guard_reminded_at=None if is_reopened else earlier.guard_reminded_at,
        edition=earlier.edition + (not is_same),
        next_action=next_number(replace(earlier, action_items=actions)),
    )


def merge_sections(earlier: Sequence[Section], drafted: Sequence[Section]) -> tuple[Section, ...]:
    """People's words and assignments stay; a section that the record no longer has (a chart whose samples are gone)
    stays as it was."""
    known, found = {section.id: section for section in earlier}, {section.id for section in drafted}
    merged = [_merged(known[s.id], s) if s.id in known else s for s in drafted]
    for place, section in enumerate(earlier):
        if section.id not in found:
            merged.insert(min(place, len(merged)), section)
    return tuple(merged)


def _merged(old: Section, new: Section) -> Section:
    assignee = old.assignee or new.assignee
    if new.is_record or not old.edited_by:
        is_same = old.text == new.text
        return replace(new, assignee=assignee, version=old.version if is_same else old.version + 1)
    return replace(old, draft=new.text, assignee=assignee, has_news=old.has_news or old.draft != new.text)


def _merge_sign_offs(earlier: Sequence[SignOff], drafted: Sequence[SignOff]) -> tuple[SignOff, ...]:
    """A team that was asked stays asked, with its date; newly involved ones are added."""
    known, planned = {sign_off.team for sign_off in earlier}, {sign_off.team: sign_off for sign_off in drafted}
    kept = (s if s.asked_at or s.person else planned.get(s.team, s) for s in earlier)
    return (*kept, *(sign_off for sign_off in drafted if sign_off.team not in known))


def _merge_actions(earlier: Review, drafted: Sequence[ActionItem]) -> tuple[ActionItem, ...]:
    """What nobody has touched and the record no longer calls for is dropped; what is new gets a number of its own."""
    wanted = {item.planned for item in drafted}
    kept = [item for item in earlier.action_items if _is_touched(item) or _plan_of(item) in wanted]
    known, number = {_plan_of(item) for item in kept}, next_number(earlier)
    for item in drafted:
        if item.planned not in known:
            kept.append(replace(item, id=f"{earlier.id}/A{number}"))
            number += 1
    return tuple(kept)


def _plan_of(item: ActionItem) -> str:
    return item.planned or ("" if item.added_by else item.text)


def _is_touched(item: ActionItem) -> bool:
    return bool(item.added_by or item.export or item.done_at or item.version > 1)
