"""What a bad commit did to a file, gathered from git and the working tree, for guards to be proposed from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate
from pathlib import Path

from quell.adapters.documents import FolderFiles, TextDocument, walk_names
from quell.adapters.git import GitRepository
from quell.incidents.errors import InvalidInput, NotFound
from quell.resolution.document import Document
from quell.resolution.evidence import BadChange
from quell.resolution.proving import Ground

_MOST_VERSIONS = 20
_MOST_OTHERS = 200
_LARGEST_OTHER = 200_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlaidFiles:
    """Files on disk, some of which say something else. Implements quell.resolution.document.Files."""

    below: FolderFiles
    texts: Mapping[str, str]

    def matching(self, glob: str) -> Sequence[Document]:
        matches = re.compile(translate(glob)).match
        names = sorted({*self.below.names(glob), *(name for name in self.texts if matches(name))})
        return [
            TextDocument(name=name, text=self.texts[name]) if name in self.texts else self.below.read(name)
            for name in names
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """The commit that did it, and the file it did it to."""

    service: str
    incident: str
    commit: str
    file: str


def gather(
    git: GitRepository,
    bad: BadFile,
    *,
    root: Path,
    now: datetime,
    guards: str = "guards",
    globs: Sequence[str] = (),
    good_text: str | None = None,
) -> tuple[BadChange, Ground]:
    """The change and the ground to try guards on; `root` is a working tree that is well, apart from this file.

    `good_text` is the mended file; by default it is as it was before the commit. Raises NotFound for a file that the
    commit made or removed: there is nothing to compare.
    """
    commit = git.commit(bad.commit).id
    bad_text, parent = git.content(commit, bad.file), git.parent(commit)
    before = git.content(parent, bad.file) if parent else None
    good_text = good_text if good_text is not None else before
    if bad_text is None or good_text is None:
        raise NotFound(f"{bad.file} does not exist both before and after commit {commit[:12]}: there is no difference")
    files = FolderFiles(root=root.resolve(), without=guards)
    known = tuple(dict.fromkeys((*globs, *_own_globs(files, bad.file), bad.file)))
    peers = {name for glob in known for name in files.names(glob)} - {bad.file}
    change = BadChange(
        service=bad.service,
        incident=bad.incident,
        commit=commit,
        good=TextDocument(name=bad.file, text=good_text),
        bad=TextDocument(name=bad.file, text=bad_text),
        globs=known,
        history=_history(git, parent, bad.file),
        peers=[files.read(name) for name in sorted(peers)],
        others=_others(files, {bad.file}),
    )
    return change, ground_of(files, bad.file, good_text=good_text, bad_text=bad_text, now=now)


def ground_of(files: FolderFiles, file: str, *, good_text: str, bad_text: str, now: datetime) -> Ground:
    """The working tree with the good and with the bad file in it."""
    return Ground(
        bad=TextDocument(name=file, text=bad_text),
        around_bad=OverlaidFiles(below=files, texts={file: bad_text}),
        around_good=OverlaidFiles(below=files, texts={file: good_text}),
        now=now,
    )


def _history(git: GitRepository, parent: str | None, file: str) -> tuple[Document, ...]:
    if parent is None:
        return ()
    texts = git.versions(parent, file, most=_MOST_VERSIONS)
    return tuple(TextDocument(name=file, text=text) for text in dict.fromkeys(texts))


def _own_globs(files: FolderFiles, file: str) -> tuple[str, ...]:
    """`services/checkout-*.yaml` for services/checkout-2.yaml where there are others; all certificates of a folder."""
    folder, _, base = file.rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    wide = re.sub(r"\d+", "*", stem) if dot else base
    found: list[str] = []
    if suffix.lower() in ("pem", "crt", "cert"):
        wide = "*"
    glob = f"{folder}/{wide}{dot}{suffix}".lstrip("/")
    if glob != file and len(files.names(glob)) > 1:
        found.append(glob)
    return tuple(found)


def _others(files: FolderFiles, but: set[str]) -> tuple[Document, ...]:
    """The readable small files of the repository, without the guards."""
    found: list[Document] = []
    for name in walk_names(files.root):
        if name in but or files.is_apart(name) or (files.root / name).stat().st_size > _LARGEST_OTHER:
            continue
        try:
            found.append(files.read(name))
        except InvalidInput:
            continue
        if len(found) == _MOST_OTHERS:
            break
    return tuple(found)
