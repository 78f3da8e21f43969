"""Fixes that nobody works on any more although there is work left: what reconciliation has to end."""

from datetime import datetime, timedelta

from quell.incidents.fix import Fix, FixState
from quell.incidents.incident import IncidentState
from quell.ports import Transaction
from tasks.fix import OPEN_FIXES
from tasks.resources import Resources

_ABANDONED_AFTER = timedelta(seconds=20)  # with the lease (20 s) and the next reconcile (15 s) within a minute
_TRIED_FOR = timedelta(minutes=10)  # afterwards people have gone on by themselves
_LATEST = 50


def find_left_fixes(res: Resources) -> list[Fix]:
    """Open ones whose process died, and taken back ones of which git or production has not followed yet."""
    with res.store.reading() as tx:
        now = res.clock()
        reverted = tx.fixes.find({"state": FixState.REVERTED}, order="updated_at", descending=True, limit=_LATEST)
        rests = [fix for fix in reverted if fix.taking_back and now - fix.updated_at < _TRIED_FOR]
        opened = [fix for fix in tx.fixes.find({"state": OPEN_FIXES}) if _has_work(tx, fix)]
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
