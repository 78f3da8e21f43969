"""Linking: which changes belong to an incident."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from quell.incidents.change import Change
from quell.incidents.service import Catalog

# Senders measure over windows and round; a change this little after the first evidence may still be its cause.
ONSET_SLACK = timedelta(seconds=30)


def link_changes(
    changes: Iterable[Change], *, onset_at: datetime, services: Iterable[str], catalog: Catalog, window: timedelta
) -> tuple[Change, ...]:
    """Changes of the incident's services, or of what these depend on, up to `window` before the onset; newest first."""
    reach = {name for service in services for name in (service, *catalog.dependencies(service))}
    linked = [
        change
        for change in changes
        if change.service in reach and onset_at - window <= change.at <= onset_at + ONSET_SLACK
    ]
    return tuple(sorted(linked, key=lambda change: (change.at, change.id), reverse=True))
