"""The last rows of one query on local disk, so that the next sweep asks only for what is new.

A folder holds one query: `rows.npy` is a ring of rows, in which row k of the grid has the place k modulo its length;
the new ones go where the window no longer looks, and `head.json`, replaced last and at once, says which rows count and
what each of them sums up to. A new set of series begins a new generation of files. Nothing here is needed: whatever is
missing, torn or of another time is None, and the whole window is asked again.
"""

import os
import shutil
import time
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import NDArray

from quell.incidents.labels import FingerprintArray, Labels
from quell.incidents.series import FloatArray

IntArray = NDArray[np.int64]

FORMAT = 1
SPARE_ROWS = 16  # so many new rows find room in the ring; more of them begin a new generation
_HEAD = "head.json"


class _Head(msgspec.Struct):
    format: int
    query: str
    step_seconds: float
    generation: str
    last: int  # the grid's number of the newest row
    sums: list[int]  # a checksum of each row, the oldest first
    labels_sum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWindow:
    """Rows up to number `last` of the grid, shape (T, S); the series are sorted by fingerprint."""

    last: int
    rows: FloatArray
    prints: FingerprintArray
    sums: tuple[int, ...]
    labels_sum: int
    generation: str

    def __post_init__(self) -> None:
        if self.rows.shape != (len(self.sums), len(self.prints)):
            raise ValueError(f"rows have shape {self.rows.shape}, expected ({len(self.sums)}, {len(self.prints)})")


def folder_of(root: Path, query: str, step_seconds: float) -> Path:
    """Where the rows of a query on a grid are kept."""
    return root / blake2b(f"{step_seconds!r} {query}".encode(), digest_size=12).hexdigest()


def load_window(folder: Path, query: str, step_seconds: float, points: int) -> KeptWindow | None:
    """At most the last `points` rows; None where there are none that can be trusted."""
    try:
        head = msgspec.json.decode((folder / _HEAD).read_bytes(), type=_Head)
        if (head.format, head.query, head.step_seconds) != (FORMAT, query, step_seconds):
            return None
        return _load_rows(folder, head, points)
    except (OSError, ValueError, EOFError, msgspec.MsgspecError):
        return None


def _load_rows(folder: Path, head: _Head, points: int) -> KeptWindow | None:
    ring = np.load(_file(folder, head.generation, "rows.npy"), mmap_mode="r")
    sums = head.sums[-points:]
    rows = np.asarray(ring[_places(head.last, len(sums), len(ring))], dtype=np.float64)
    if [_sum(row) for row in rows] != sums:
        return None
    return KeptWindow(
        last=head.last,
        rows=rows,
        prints=_load_summed(_file(folder, head.generation, "prints.npy")),
        sums=tuple(sums),
        labels_sum=head.labels_sum,
        generation=head.generation,
    )


def load_labels(folder: Path, kept: KeptWindow) -> tuple[Labels, ...] | None:
    """The labels of the kept series, in their order; None where they cannot be read."""
    try:
        content = _file(folder, kept.generation, "labels.json").read_bytes()
    except OSError:
        return None
    return tuple(msgspec.json.decode(content, type=list[dict[str, str]])) if _sum(content) == kept.labels_sum else None


def append_rows(folder: Path, query: str, step_seconds: float, kept: KeptWindow, new: FloatArray, points: int) -> bool:
    """Write the rows that follow the kept ones, of the same series; False where the ring has no room for them."""
    file = _file(folder, kept.generation, "rows.npy")
    ring = np.load(file, mmap_mode="r")
    if len(ring) < points + len(new):
        return False
    last = kept.last + len(new)
    with file.open("r+b") as stream:
        _write_rows(stream, ring.offset, _places(last, len(new), len(ring)), new)
    sums = [*kept.sums, *(_sum(row) for row in new)][-points:]
    _write_head(folder, _Head(FORMAT, query, step_seconds, kept.generation, last, sums, kept.labels_sum))
    return True


def write_window(
    folder: Path,
    query: str,
    step_seconds: float,
    *,
    last: int,
    rows: FloatArray,
    prints: FingerprintArray,
    labels: tuple[Labels, ...],
    points: int,
) -> None:
    """Begin a new generation with these rows, `points` of them or fewer. Raises OSError where the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    generation = uuid4().hex[:12]
    shape = (points + SPARE_ROWS, len(prints))
    with _file(folder, generation, "rows.npy").open("wb") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        offset = stream.tell()
        _write_rows(stream, offset, _places(last, len(rows), shape[0]), rows)
        stream.truncate(offset + 8 * shape[0] * shape[1])
    with _file(folder, generation, "prints.npy").open("wb") as stream:
        _save_summed(stream, prints)
    text = msgspec.json.encode(labels)
    _file(folder, generation, "labels.json").write_bytes(text)
    sums = [_sum(row) for row in rows]
    _write_head(folder, _Head(FORMAT, query, step_seconds, generation, last, sums, _sum(text)))
    _remove_other(folder, generation)


def _write_rows(stream: BinaryIO, offset: int, places: IntArray, rows: FloatArray) -> None:
    """Written and not mapped: a full disk is then an error that can be caught, not the end of the process."""
    for place, row in zip(places.tolist(), rows, strict=True):
        stream.seek(offset + place * row.nbytes)
        stream.write(np.ascontiguousarray(row, dtype="<f8").data)


def forget_unused(root: Path, *, days: float = 1.0) -> None:
    """Remove the windows of queries that nobody has asked for so long: of signals that were changed or retired."""
    for folder in root.iterdir():
        files = [path.stat().st_mtime for path in folder.iterdir()] if folder.is_dir() else []
        if files and max(files) < time.time() - days * 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def load_order(folder: Path, labels: tuple[Labels, ...]) -> FingerprintArray | None:
    """The fingerprints of labels that came in this very order before."""
    try:
        prints = _load_summed(_order_file(folder, labels))
    except (OSError, ValueError, EOFError):
        return None
    return prints if len(prints) == len(labels) else None


def write_order(folder: Path, labels: tuple[Labels, ...], prints: FingerprintArray) -> None:
    """Keep the fingerprints of labels in the order of an answer, for the next answer in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    file = _order_file(folder, labels)
    for other in folder.glob("order-*.npy"):
        other.unlink(missing_ok=True)
    unfinished = file.with_suffix(f".{uuid4().hex[:6]}")
    with unfinished.open("wb") as stream:
        _save_summed(stream, prints)
    unfinished.replace(file)


def _order_file(folder: Path, labels: tuple[Labels, ...]) -> Path:
    digest = blake2b(msgspec.json.encode(labels), digest_size=12).hexdigest()
    return folder / f"order-{digest}.npy"


def _file(folder: Path, generation: str, name: str) -> Path:
    return folder / f"{generation}-{name}"


def _places(last: int, count: int, ring: int) -> IntArray:
    return np.arange(last - count + 1, last + 1, dtype=np.int64) % ring


def _sum(content: FloatArray | FingerprintArray | bytes) -> int:
    return zlib.crc32(content if isinstance(content, bytes) else np.ascontiguousarray(content).data)


def _save_summed(stream: BinaryIO, prints: FingerprintArray) -> None:
    np.save(stream, np.append(prints, np.uint64(_sum(prints))))


def _load_summed(file: Path) -> FingerprintArray:
    """Raises ValueError where the checksum, which stands at the end, is another."""
    content = np.load(file)
    if len(content) == 0 or _sum(content[:-1]) != content[-1]:
        raise ValueError(f"{file} does not add up")
    return content[:-1]


def _write_head(folder: Path, head: _Head) -> None:
    unfinished = folder / f"head.{os.getpid()}.{uuid4().hex[:6]}"
    unfinished.write_bytes(msgspec.json.encode(head))
    unfinished.replace(folder / _HEAD)


def _remove_other(folder: Path, generation: str) -> None:
    for path in folder.iterdir():
        if path.name != _HEAD and not path.name.startswith((generation, "order-")):
            path.unlink(missing_ok=True)
