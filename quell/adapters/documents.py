"""Configuration files on disk or in memory, as the guards see them: parsed once, every key with its line."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from fnmatch import translate
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from quell.incidents.errors import InvalidInput
from quell.resolution.document import CertificateFacts, Document, KeyPath

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is seven times as fast
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_YAML = "tag:yaml.org,2002:"
_MERGE = f"{_YAML}merge"


def parse_all(text: str, *, name: str) -> tuple[Any, ...]:
    """What the text holds, by the suffix of its name: JSON, TOML, else YAML. Raises InvalidInput with `name:line`."""
    kind = name.rpartition(".")[2].lower()
    try:
        if kind == "json":
            return (json.loads(text),)
        if kind == "toml":
            return (tomllib.loads(text),)
        return _parse_yaml(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{name}:{error.lineno}: this is not JSON: {error.msg}") from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        raise InvalidInput(f"{name}:{place[1] if place else 1}: this is not TOML: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line, problem = _explain(text, error)
        raise InvalidInput(f"{name}:{line}: this is not YAML: {problem}") from error


def _parse_yaml(text: str) -> tuple[Any, ...]:
    """Safe YAML as JSON Schema knows it: keys are text as written, dates stay text, unknown tags are looked through."""
    loader = _Loader(text)
    try:
        contents: list[Any] = []
        while loader.check_node():
            contents.append(_plain(loader.get_node(), loader))
        return tuple(contents) or (None,)
    finally:
        loader.dispose()


def _plain(node: Any, loader: Any) -> Any:
    """The value of a node. PyYAML's own constructor takes twice as long, which the gate would feel."""
    if isinstance(node, ScalarNode):
        read = _SCALARS.get(node.tag)
        return node.value if read is None else read(loader, node)
    if isinstance(node, SequenceNode):
        return [_plain(item, loader) for item in node.value]
    pairs: list[tuple[Any, Any]] = node.value
    if any(key.tag == _MERGE for key, _ in pairs):
        loader.flatten_mapping(node)
        pairs = node.value
    return {key.value if isinstance(key, ScalarNode) else str(key.value): _plain(value, loader) for key, value in pairs}


_SCALARS: dict[str, Any] = {
    f"{_YAML}{name}": getattr(yaml.SafeLoader, f"construct_yaml_{name}") for name in ("int", "float", "bool", "null")
}


def _explain(text: str, error: Exception) -> tuple[int, str]:
    """The Python parser says better than the C one what is wrong, and where."""
    try:
        list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as better:
        error = better
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return error.problem_mark.line + 1, str(error.problem)
    return 1, str(error)


@dataclass(slots=True, kw_only=True)
class TextDocument:
    """A document whose text is at hand. Implements quell.resolution.document.Document."""

    name: str
    text: str
    _contents: tuple[object, ...] | None = field(default=None, init=False)

    def contents(self) -> Sequence[object]:
        if self._contents is None:
            self._contents = parse_all(self.text, name=self.name)
        return self._contents

    def line_of(self, path: KeyPath, part: int = 0) -> int:
        """Only asked for findings: the text is read a second time then, with marks."""
        if self.name.endswith(".toml"):
            from quell.config.source import toml_lines

            lines = toml_lines(self.text)
            return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 1)
        plain = self.text.replace("\t", " ") if self.name.endswith(".json") else self.text  # JSON is YAML but for tabs
        try:
            roots: list[Node | None] = list(cast(Iterator[Node | None], yaml.compose_all(plain, Loader=_Loader)))
        except yaml.YAMLError:
            return 1
        return _line_below(roots[part] if part < len(roots) else None, path)

    def certificates(self) -> Sequence[CertificateFacts]:
        return tuple(
            _read_certificate(found[0], f"{self.name}:{self.text.count(chr(10), 0, found.start()) + 1}")
            for found in _PEM.finditer(self.text)
        )


def _line_below(root: Node | None, path: KeyPath) -> int:
    """The 1-based line of a key; of the nearest key above it where the path leaves the text (merged or missing)."""
    node, line = root, root.start_mark.line + 1 if root is not None and not path else 1
    for part in path:
        if isinstance(node, MappingNode):
            found = [(k, v) for k, v in node.value if isinstance(k, ScalarNode) and k.value == str(part)]
            if not found:
                break
            line, node = found[-1][0].start_mark.line + 1, found[-1][1]  # of two equal keys the last one counts
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _read_certificate(pem: str, place: str) -> CertificateFacts:
    from cryptography import x509  # only where a guard asks for certificates: its import takes a tenth of a second

    try:
        read = x509.load_pem_x509_certificate(pem.encode())
        extension = [e.value for e in read.extensions if isinstance(e.value, x509.SubjectAlternativeName)]
    except ValueError as error:
        raise InvalidInput(f"{place}: this is no certificate: {error}") from error
    names = tuple(str(name) for one in extension for name in one.get_values_for_type(x509.DNSName))
    return CertificateFacts(
        line=int(place.rpartition(":")[2]),
        subject=read.subject.rfc4514_string(),
        names=names,
        not_before=read.not_valid_before_utc.astimezone(UTC),
        not_after=read.not_valid_after_utc.astimezone(UTC),
    )


def read_document(path: Path, name: str) -> TextDocument:
    """Raises InvalidInput with `path:line`."""
    try:
        return TextDocument(name=name, text=path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}:1: it cannot be read: {error}") from error


@dataclass(slots=True, kw_only=True)
class FolderFiles:
    """The files below `root`, read once, without hidden folders. Implements quell.resolution.document.Files."""

    root: Path
    without: str = "guards"  # the guards themselves are no configuration, whatever their globs say
    _read: dict[str, TextDocument] = field(default_factory=dict[str, TextDocument], init=False)
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]], init=False)

    def read(self, name: str) -> TextDocument:
        """Raises InvalidInput."""
        if name not in self._read:
            self._read[name] = read_document(self.root / name, name)
        return self._read[name]

    def matching(self, glob: str) -> Sequence[Document]:
        return [self.read(name) for name in self.names(glob)]

    def names(self, glob: str) -> Sequence[str]:
        """The names that match; only the folder before the first wildcard is walked."""
        if not re.search(r"[*?\[]", glob):
            return [glob] if (self.root / glob).is_file() else []
        start = re.split(r"[*?\[]", glob, maxsplit=1)[0].rpartition("/")[0]
        if start not in self._names:
            self._names[start] = walk_names(self.root, start)
        matches = re.compile(translate(glob)).match
        return [name for name in self._names[start] if matches(name) and not self.is_apart(name)]

    def is_apart(self, name: str) -> bool:
        return bool(self.without) and name.startswith(f"{self.without}/")


def walk_names(root: Path, folder: str = "") -> tuple[str, ...]:
    """The files below a folder by their path from `root`, in order, hidden ones left out."""
    found: list[str] = []
    for above, folders, names in os.walk(root / folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        place = Path(above).relative_to(root).as_posix()
        prefix = "" if place == "." else f"{place}/"
        found += [prefix + name for name in names if not name.startswith(".")]
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFiles:
    """Files in memory by name, as a commit has them. Implements quell.resolution.document.Files."""

    texts: Mapping[str, str]

    def read(self, name: str) -> TextDocument:
        return TextDocument(name=name, text=self.texts[name])

    def matching(self, glob: str) -> Sequence[Document]:
        matches = re.compile(translate(glob)).match
        return [self.read(name) for name in sorted(self.texts) if matches(name)]
