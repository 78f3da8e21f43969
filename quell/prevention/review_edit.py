"""Edits of a post-mortem's sections: everything that people change, with the sentence for the timeline.

An edit names the version from which it was made. Where somebody else has been faster it is a conflict, never a loss:
what the other one wrote stands, and each edit's diff is on the timeline.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from quell.incidents.errors import Conflict, InvalidInput, NotFound
from quell.incidents.review import Comment, Review, Section, SignOff

LONGEST_SECTION = 20_000
LONGEST_COMMENT = 2_000
MOST_COMMENTS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The review afterwards, and what the timeline says of it: `kind` begins with "review"."""

    review: Review
    kind: str
    text: str
    subject: str
    evidence: Mapping[str, str] = field(default_factory=dict[str, str])


def edit_section(review: Review, id: str, text: str, *, version: int, by: str, now: datetime) -> Edit:
    """The section with a new text; who has signed already is asked again. Raises Conflict, InvalidInput or NotFound."""
    section, text = _editable(review, id, version), _clean(text)
    if not text:
        raise InvalidInput(f"section {id} would be empty: say at least that nothing is known")
    if len(text) > LONGEST_SECTION:
        raise InvalidInput(f"section {id} has {len(text)} characters, the limit is {LONGEST_SECTION}: link to the rest")
    if text == section.text:
        raise InvalidInput(f"section {id} is as it was: nothing was changed")
    draft = section.draft if section.edited_by else section.text
    changed = replace(section, text=text, draft=draft, version=version + 1, edited_by=by, edited_at=now, has_news=False)
    return _edited(review, section, changed, "edited")


def take_draft(review: Review, id: str, *, version: int, by: str, now: datetime) -> Edit:
    """The section as the record has it, instead of what people wrote, which stays on the timeline."""
    section = _editable(review, id, version)
    if not section.edited_by:
        raise InvalidInput(f"section {id} is what the record says already")
    text, version = section.draft, version + 1
    changed = replace(section, text=text, draft="", version=version, edited_by="", edited_at=now, has_news=False)
    return _edited(review, section, changed, f"taken from the record by {by}")


def assign_section(review: Review, id: str, assignee: str, *, known: Collection[str]) -> Edit:
    """Somebody looks after the section: a team or a person; empty for nobody."""
    section, assignee = _section(review, id), assignee.strip()
    if assignee and assignee not in known:
        names = ", ".join(sorted(known))
        raise InvalidInput(f"section {id} cannot be assigned to {assignee[:60]!r}: no such team or person ({names})")
    changed = _with_section(review, replace(section, assignee=assignee))
    text = f"section {section.title}: {assignee or 'nobody'} looks after it"
    evidence = {"section": id, "assignee": assignee}
    return Edit(review=changed, kind="review assigned", text=text, subject=subject_of(review, id), evidence=evidence)


def comment_on(review: Review, section_id: str, text: str, *, by: str, now: datetime) -> Edit:
    """A remark beside a section, or beside the whole where `section_id` is empty; it changes nothing else."""
    title = _section(review, section_id).title if section_id else "the post-mortem"
    text = _clean(text)
    if not text or len(text) > LONGEST_COMMENT:
        raise InvalidInput(f"comment has {len(text)} characters: write between 1 and {LONGEST_COMMENT}")
    if len(review.comments) >= MOST_COMMENTS:
        raise InvalidInput(f"{review.id} has {MOST_COMMENTS} comments, which is the limit: write into a section")
    number = len(review.comments) + 1
    made = Comment(id=f"{review.id}/C{number}", section=section_id, by=by, at=now, text=text)
    return Edit(
        review=replace(review, comments=(*review.comments, made)),
        kind="review commented",
        text=f"on {title}: {text if len(text) <= 200 else text[:199] + '…'}",
        subject=made.id,
        evidence={"section": section_id},
    )


def unsigned(sign_offs: Sequence[SignOff]) -> tuple[SignOff, ...]:
    """The sign-offs, asked for anew of those who had signed."""
    return tuple(
        replace(s, person=None, at=None, comment="", edition=0, asked_at=None) if s.person else s for s in sign_offs
    )


def subject_of(review: Review, section_id: str) -> str:
    return f"{review.id}/section/{section_id}"


def _edited(review: Review, old: Section, new: Section, how: str) -> Edit:
    signed = [sign_off.team for sign_off in review.sign_offs if sign_off.person]
    changed = replace(_with_section(review, new), edition=review.edition + 1, sign_offs=unsigned(review.sign_offs))
    again = f"; asked to sign again: {', '.join(signed)}" if signed else ""
    lines = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), "before", "after", lineterm="", n=1)
    return Edit(
        review=changed,
        kind="review edited",
        text=f"section {new.title} {how}, version {new.version}{again}",
        subject=subject_of(review, new.id),
        evidence={"section": new.id, "version": str(new.version), "diff": "\n".join(lines)},
    )


def _editable(review: Review, id: str, version: int) -> Section:
    section = _section(review, id)
    if section.is_record:
        raise InvalidInput(f"section {id} is the record's own: write into another one, or comment on it")
    if version != section.version:
        who = f"by {section.edited_by} at {section.edited_at:%H:%M:%S} UTC" if section.edited_at else "from the record"
        raise Conflict(
            f"section {section.title} was changed {who} while you wrote (version {section.version}, yours is from"
            f" {version}): nothing of either is lost, look at both and save again"
        )
    return section


def _section(review: Review, id: str) -> Section:
    section = review.section(id)
    if section is None:
        known = ", ".join(section.id for section in review.sections) or "none; write the post-mortem anew"
        raise NotFound(f"section {id[:40]!r} is not in the post-mortem of {review.id} (there are: {known})")
    return section


def _with_section(review: Review, section: Section) -> Review:
    return replace(review, sections=tuple(section if s.id == section.id else s for s in review.sections))


def _clean(text: str) -> str:
    """Browsers send CRLF; spaces at the ends of lines say nothing."""
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).strip()
