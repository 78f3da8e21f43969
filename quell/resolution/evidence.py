"""Evidence for a guard: the bad file, the good one, what it was before, and the files around it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from quell.resolution.document import Document
from quell.resolution.guard import Guard

_STRUCTURED = (".yaml", ".yml", ".json", ".toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadChange:
    """What one commit did to one file. `globs` say which files a guard may cover, the widest first."""

    service: str
    incident: str
    commit: str
    good: Document
    bad: Document
    globs: tuple[str, ...]
    history: Sequence[Document] = ()  # the file as it was before, newest first
    peers: Sequence[Document] = ()  # other files of the kind that `globs` cover
    others: Sequence[Document] = ()  # the rest of the repository

    @property
    def fine(self) -> tuple[Document, ...]:
        """All texts of this kind of file that ran without trouble."""
        return (self.good, *self.history, *self.peers)

    @property
    def own(self) -> tuple[Document, ...]:
        """This file as it was while all was well."""
        return (self.good, *self.history)

    @property
    def is_structured(self) -> bool:
        return self.good.name.lower().endswith(_STRUCTURED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Guards against one change, from the most general to the most particular; the first that is proved is proposed."""

    subject: str  # what changed, in words
    guards: tuple[Guard, ...] = field(default_factory=tuple[Guard, ...])
