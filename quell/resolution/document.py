"""A document: one configuration file as guards see it, and the other files that it must agree with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What one certificate in a file says of itself; `line` is where it begins."""

    line: int
    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


class Document(Protocol):
    """`name` is the path in the repository, with slashes. Reading raises InvalidInput with `name:line`."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str: ...

    def contents(self) -> Sequence[object]:
        """The parsed file: one value, or several where YAML holds several documents."""
        ...

    def line_of(self, path: KeyPath, part: int = 0) -> int:
        """The 1-based line of a key in one of the contents, or of the nearest key above it."""
        ...

    def certificates(self) -> Sequence[CertificateFacts]: ...


class Files(Protocol):
    """The repository around a document."""

    def matching(self, glob: str) -> Sequence[Document]: ...
