"""Where a signal's fleet of series stands between two sweeps, on local disk, so that only newer rows are judged.

One file of numbers and a small head that is replaced last. Nothing here is needed: whatever is missing, torn or of
another baseline is None, and the rows since the fit are judged once more, with the same result.
"""

import logging
import os
import zlib
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np

from quell.detection.fleet import Fleet

log = logging.getLogger(__name__)

FORMAT = 1


class _Head(msgspec.Struct):
    format: int
    signal: str
    version: str  # of the baseline
    slot: int
    sum: int


@dataclass(frozen=True, slots=True)
class KeptFleets:
    """Without a folder nothing is kept."""

    folder: Path | None = None

    def load(self, signal: str, version: str, fitted: Fleet) -> Fleet | None:
        """The fleet of this version of the baseline as it was kept; `fitted` is the same one as it was stored."""
        if self.folder is None:
            return None
        head_file, memory_file = self._files(signal)
        try:
            head = msgspec.json.decode(head_file.read_bytes(), type=_Head)
            if (head.format, head.signal, head.version) != (FORMAT, signal, version):
                return None
            memory = np.load(memory_file)
        except (OSError, ValueError, EOFError, msgspec.MsgspecError):
            return None
        if memory.shape != fitted.memory.shape or memory.dtype != fitted.memory.dtype or _sum(memory) != head.sum:
            return None
        return replace(fitted, memory=memory, slot=head.slot)

    def keep(self, signal: str, version: str, fleet: Fleet) -> None:
        """What cannot be kept is judged again: that costs time, never a sweep."""
        if self.folder is None:
            return
        head_file, memory_file = self._files(signal)
        head = _Head(format=FORMAT, signal=signal, version=version, slot=fleet.slot, sum=_sum(fleet.memory))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _replace(memory_file, fleet.memory)
            _replace(head_file, msgspec.json.encode(head))
        except OSError as error:
            log.warning("where %s stands cannot be kept in %s: %s", signal, self.folder, error)

    def _files(self, signal: str) -> tuple[Path, Path]:
        name = blake2b(signal.encode(), digest_size=12).hexdigest()
        folder = self.folder or Path()
        return folder / f"{name}.json", folder / f"{name}.npy"


def _sum(memory: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> int:
    return zlib.crc32(np.ascontiguousarray(memory).view(np.uint8).data)


def _replace(file: Path, content: "bytes | np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> None:
    """Write beside the file and put it in its place at once."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with new.open("wb") as stream:
        if isinstance(content, bytes):
            stream.write(content)
        else:
            np.save(stream, content)
    new.replace(file)
