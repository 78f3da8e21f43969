"""Exports at work: an action item becomes an issue once, whoever dies in between.

That it shall become one is recorded before anything is sent; the address is recorded afterwards. What a dead process
left between the two is taken up by the next round, which finds the issue by its marker instead of making another.
"""

from datetime import timedelta

from quell.adapters.tracker import Issue, export_issue
from quell.config.config import Tracker
from quell.incidents.errors import Conflict, InvalidInput, QuellError
from quell.incidents.journal import LEASE_TIME
from quell.incidents.review import ActionItem, Review
from quell.prevention.action_item import record_export, record_failed_export
from tasks.lease import Hold, hold, kept
from tasks.record import QUELL
from tasks.resources import Resources
from tasks.review_record import get_review, keep_edit, keep_review

_PAUSE_FIRST, _PAUSE_LONGEST = timedelta(minutes=1), timedelta(hours=6)
_CALLS = 22  # to the tracker at most: the pages of its list, and the making


def can_export(res: Resources) -> bool:
    return res.config.tracker is not None


def export_action(res: Resources, incident: str, item_id: str) -> str:
    """Export what was asked for; returns what became of it. A tracker that is away is asked again later."""
    tracker = res.config.tracker
    if tracker is None:
        return "nothing says where issues are kept"
    try:
        with hold(res, f"export:{item_id}", wait=timedelta(0)) as held, kept(res, held, _longest(tracker)):
            return _export(res, tracker, held, incident, item_id)
    except Conflict as error:  # somebody else exports it at this moment
        return f"{item_id}: {error}"


def _export(res: Resources, tracker: Tracker, held: Hold, incident: str, item_id: str) -> str:
    with res.store.reading() as tx:
        review = get_review(tx, incident)
    item = review.action(item_id)
    if item is None or item.export is None or item.export.done_at is not None:
        return f"{item_id} is exported: {item.export.url or 'taken'}" if item and item.export else f"{item_id} is gone"
    try:
        issue = issue_of(res, tracker, review, item)
        with res.store.writing() as tx:
            held.renew(tx, res.clock())  # who hung for too long makes no second issue
        url = export_issue(tracker, issue)
    except Conflict:
        raise
    except QuellError as error:
        with res.store.writing() as tx:
            keep_review(tx, record_failed_export(get_review(tx, incident), item_id, str(error), res.clock()))
        again = "the next round tries again" if not isinstance(error, InvalidInput) else "it is tried again by and by"
        return f"{item_id} is not exported yet: {error}; {again}"
    with res.store.writing() as tx:
        now, where = res.clock(), f"{tracker.kind} {issue.project}".strip()
        edit = record_export(get_review(tx, incident), item_id, url=url, now=now, where=where)
        keep_edit(tx, edit, by=QUELL, now=now)
    return f"{item_id} is exported: {url or 'taken'}"


def issue_of(res: Resources, tracker: Tracker, review: Review, item: ActionItem) -> Issue:
    """The item as an issue that says by itself what it is about."""
    page = f"{res.config.gateway_url}/incidents/{review.id}/postmortem"
    person = res.config.people.get(item.owner)
    team = person.team if person else item.owner
    owner = f"{person.full_name}, team {team}" if person else f"team {team}"
    wanted = item.export.wanted_at if item.export else res.clock()
    lines = [
        _quiet(item.text),
        "",
        f"- Owner: {owner}",
        f"- Due: {item.due}",
        f"- From the post-mortem of {_quiet(review.title or review.id)}: {page}",
    ]
    return Issue(
        key=f"{page}#{item.id.rpartition('/')[2]}",
        title=f"{_quiet(item.text)} ({item.id})",
        body="\n".join(lines),
        due=item.due,
        wanted_at=wanted,
        project=tracker.projects.get(team, tracker.project),
        facts={"id": item.id, "incident": review.id, "owner": item.owner, "team": team, "page": page},
    )


def is_export_due(res: Resources, item: ActionItem) -> bool:
    """Asked for and not done, and the pause since the last attempts is over."""
    export = item.export
    if export is None or export.done_at is not None:
        return False
    pause = min(_PAUSE_FIRST * 2 ** min(export.attempts, 12), _PAUSE_LONGEST) if export.attempts else timedelta(0)
    return res.clock() >= (export.tried_at or export.wanted_at) + pause


def _longest(tracker: Tracker) -> timedelta:
    return max(tracker.timeout * _CALLS, LEASE_TIME)


def _quiet(text: str) -> str:
    """Words of incidents mention nobody on the tracker."""
    return text.replace("@", "@\u200b")
