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
        """Those of the items (each with the size of what was sent) that there is room for. Raises Unavailable."""
        wanted = list(items)
        small = [item for item, size in wanted if size <= self.largest]
        kept = small[: max(0, self.most - self._held())] if small else []
        self.measures.quarantined.labels("held").inc(len(kept))
        self.measures.quarantined.labels("dropped").inc(len(wanted) - len(kept))
        return kept

    def _held(self) -> int:
        with self.store.reading() as tx:
            return tx.inbox.count({"quarantine": Quarantine.HELD})
