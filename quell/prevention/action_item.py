"""Action items: what is left to do, by whom and until when; added, changed, finished and sent on by people."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime

from quell.incidents.errors import Conflict, InvalidInput, NotFound
from quell.incidents.review import ActionItem, Export, Review
from quell.prevention.review_edit import Edit

LONGEST_TEXT = 300
MOST_ITEMS = 100
_LATEST_YEARS = 3


def add_action(
    review: Review, *, text: str, owner: str, due: date, by: str, known: Collection[str], today: date
) -> Edit:
    """One more thing to do. Raises InvalidInput."""
    if len(review.action_items) >= MOST_ITEMS:
        raise InvalidInput(f"{review.id} has {MOST_ITEMS} action items, which is the limit: nobody does more")
    text = checked_text(text)
    _check(owner, due, known, today)
    number = next_number(review)
    item = ActionItem(id=f"{review.id}/A{number}", text=text, owner=owner, due=due, added_by=by)
    added = replace(review, action_items=(*review.action_items, item), next_action=number + 1)
    return _edit(added, item, "review action added", f"{text}; {owner}, due {due}")


def change_action(
    review: Review,
    id: str,
    *,
    version: int,
    text: str,
    owner: str,
    due: date,
    by: str,
    known: Collection[str],
    today: date,
) -> Edit:
    """Another text, owner or date. Raises Conflict where somebody has changed it meanwhile."""
    item, text = _item(review, id), checked_text(text)
    if version != item.version:
        raise Conflict(f"{id} was changed by {item.edited_by or 'quell'} while you wrote: look at it and save again")
    if owner != item.owner or due != item.due:  # what was accepted once stays as it is
        _check(owner, due, known, today)
    parts = [
        f"{name} {new!s}, was {old!s}"
        for name, old, new in (("text", item.text, text), ("owner", item.owner, owner), ("due", item.due, due))
        if old != new
    ]
    if not parts:
        raise InvalidInput(f"{id} is as it was: nothing was changed")
    reminded = item.reminded_at if due == item.due else None
    changed = replace(item, text=text, owner=owner, due=due, version=version + 1, edited_by=by, reminded_at=reminded)
    return _edit(with_item(review, changed), changed, "review action changed", "; ".join(parts))


def finish_action(review: Review, id: str, *, by: str, now: datetime) -> Edit:
    item = _item(review, id)
    if item.done_at is not None:
        raise Conflict(f"{id} is done already, since {item.done_at:%Y-%m-%d %H:%M} UTC")
    changed = replace(item, done_at=now, done_by=by, version=item.version + 1)
    return _edit(with_item(review, changed), changed, "review action done", item.text)


def reopen_action(review: Review, id: str) -> Edit:
    item = _item(review, id)
    if item.done_at is None:
        raise Conflict(f"{id} is open already")
    changed = replace(item, done_at=None, done_by="", version=item.version + 1, reminded_at=None)
    return _edit(with_item(review, changed), changed, "review action reopened", item.text)


def want_export(review: Review, id: str, *, by: str, now: datetime) -> Edit:
    """Ask that it becomes an issue; whoever dies meanwhile, it becomes one. Raises Conflict where it is one.

    Asking again keeps the first time: an issue made since then may be there already.
    """
    item = _item(review, id)
    if item.export is not None and item.export.done_at is not None:
        raise Conflict(f"{id} is {item.export.url or 'exported'} already")
    export = item.export or Export(wanted_at=now, wanted_by=by)
    changed = replace(item, export=replace(export, wanted_by=by))
    return _edit(with_item(review, changed), changed, "review export asked", f"shall become an issue: {item.text}")


def record_export(review: Review, id: str, *, url: str, now: datetime, where: str) -> Edit:
    item = _item(review, id)
    if item.export is None:
        raise NotFound(f"{id} has no export: ask for one")
    done = replace(item.export, done_at=now, url=url, problem="", attempts=item.export.attempts + 1)
    changed = replace(item, export=done)
    return _edit(with_item(review, changed), changed, "review action exported", f"to {where}: {url or 'taken'}")


def record_failed_export(review: Review, id: str, problem: str, now: datetime) -> Review:
    """The attempt counts and its problem is kept; no entry, or a tracker that is away would fill the timeline."""
    item = _item(review, id)
    if item.export is None:
        return review
    failed = replace(item.export, problem=problem[:400], attempts=item.export.attempts + 1, tried_at=now)
    return with_item(review, replace(item, export=failed))


def with_item(review: Review, item: ActionItem) -> Review:
    return replace(review, action_items=tuple(item if i.id == item.id else i for i in review.action_items))


def next_number(review: Review) -> int:
    """A number is given once, also where its item is gone."""
    taken = [int(item.id.rpartition("A")[2]) for item in review.action_items if item.id.rpartition("A")[2].isdigit()]
    return max([review.next_action, *(number + 1 for number in taken)])


def checked_text(text: str) -> str:
    text = " ".join(text.split())
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise InvalidInput(f"action item has {len(text)} characters: say in 1 to {LONGEST_TEXT} what is to be done")
    return text


def _check(owner: str, due: date, known: Collection[str], today: date) -> None:
    if owner not in known:
        names = ", ".join(sorted(known)) or "nobody is"
        raise InvalidInput(f"owner {owner[:60]!r} is not known: name a person or a team ({names})")
    if not today <= due <= today.replace(year=today.year + _LATEST_YEARS, day=min(today.day, 28)):
        raise InvalidInput(f"due {due} is not between today and {_LATEST_YEARS} years from now: choose another date")


def _item(review: Review, id: str) -> ActionItem:
    item = review.action(id)
    if item is None:
        ids = ", ".join(item.id for item in review.action_items) or "none"
        raise NotFound(f"action item {id[:60]!r} is not in the post-mortem of {review.id} (there are: {ids})")
    return item


def _edit(review: Review, item: ActionItem, kind: str, text: str) -> Edit:
    return Edit(review=review, kind=kind, text=text, subject=item.id)
