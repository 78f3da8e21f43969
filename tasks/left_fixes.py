"""Fixes that nobody works on any more although there is work left: what reconciliation has to end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from quell.adapters.git import GitRepository
from quell.incidents.errors import QuellError
from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentState
from quell.ports import Transaction
from tasks.bisect import remove_left_trees
from tasks.colours import end_warmth
from tasks.fix import OPEN_FIXES
from tasks.fix_approval import is_waiting
from tasks.lease import hold, kept
from tasks.resources import Resources

_ABANDONED_AFTER = timedelta(seconds=20)  # with the lease (20 s) and the next reconcile (15 s) within a minute
_TRIED_FOR = timedelta(minutes=10)  # afterwards people have gone on by themselves
_LATEST = 50
_LONGEST = timedelta(minutes=2)  # that a colour's instances take to be reloaded


def find_left_fixes(res: Resources) -> list[Fix]:
    """Open ones whose process died, and taken back ones of which git or production has not followed yet."""
    with res.store.reading() as tx:
        now = res.clock()
        reverted = tx.fixes.find({"state": FixState.REVERTED}, order="updated_at", descending=True, limit=_LATEST)
        rests = [fix for fix in reverted if fix.taking_back and now - fix.updated_at < _TRIED_FOR]
        unended = [fix for fix in tx.fixes.find({"state": OPEN_FIXES}) if _has_work(tx, fix)]
        opened = [fix for fix in unended if not is_waiting(res, tx, fix, now)]
        return [fix for fix in (*opened, *rests) if _is_abandoned(tx, fix, now)]


def _has_work(tx: Transaction, fix: Fix) -> bool:
    if fix.state is not FixState.PROMOTED or fix.taking_back:
        return True
    incident = tx.incidents.get(fix.incident)
    return incident is not None and incident.state is IncidentState.RESOLVING


def _is_abandoned(tx: Transaction, fix: Fix, now: datetime) -> bool:
    leases = [tx.leases.get(id) for id in (fix.id, f"resolve {fix.incident}")]
    if any(lease is not None and lease.expires_at > now - _ABANDONED_AFTER for lease in leases):
        return False
    return fix.state is FixState.REVERTED or now - fix.updated_at > _ABANDONED_AFTER


def cool_down(res: Resources) -> Iterator[str]:
    """Let the colours that were kept warm long enough have the fix too; one sentence for each."""
    now = res.clock()
    with res.store.reading() as tx:
        promoted = tx.fixes.find({"state": FixState.PROMOTED})
    for fix in promoted:
        if fix.warm_until is None or fix.warm_until > now or fix.taking_back:
            continue
        try:
            with hold(res, fix.id) as lease, kept(res, lease, _LONGEST):
                yield f"{fix.id}: {end_warmth(res, fix)}"
        except QuellError as error:
            yield f"{fix.id} is promoted and the colour of before could not get it: {error}"


def mend_repositories(res: Resources) -> Iterator[str]:
    """A lock file that a dead git left stops people too: it must not wait for the next fix. Nor does a tree in which a
    bisection died."""
    services = res.config.catalog.services.values()
    for path in {service.repository.path for service in services if service.repository}:
        try:
            GitRepository(Path(path)).mend()
            yield from remove_left_trees(res, GitRepository(Path(path)))
        except QuellError as error:
            yield f"repository {path} cannot be looked at: {error}"
