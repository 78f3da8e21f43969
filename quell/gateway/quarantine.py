"""What to keep of that which could not be read: bounded in number and size, and counted where it is not kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from quell.gateway.measures import Measures
from quell.incidents.inbox import InboxItem, Quarantine
from quell.ports import Store

MOST_HELD = 1000
LARGEST_HELD = 64 * 1024  # bytes of one payload


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRoom:
    """The room that is left; several gateways on one store may each go over by what they hold at the same moment."""

    store: Store
    measures: Measures
    most: int = MOST_HELD
    largest: int = LARGEST_HELD

    def choose(self, items: Iterable[tuple[InboxItem, int]]) -> list[InboxItem]:
        """Those new ones (each with the size of what was sent) that there is room for. Raises Unavailable.

        A repetition of what is here already needs no room and counts for nothing.
        """
        wanted = {item.id: (item, size) for item, size in items}
        with self.store.reading() as tx:
            for known in tx.inbox.find({"id": tuple(wanted)}):
                del wanted[known.id]
            room = max(0, self.most - tx.inbox.count({"quarantine": Quarantine.HELD})) if wanted else 0
        kept = [item for item, size in wanted.values() if size <= self.largest][:room]
        self.measures.quarantined.labels("held").inc(len(kept))
        self.measures.quarantined.labels("dropped").inc(len(wanted) - len(kept))
        return kept
