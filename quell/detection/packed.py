"""Arrays in one blob, one after the other as they lie in memory: reading them back copies nothing."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 8  # bytes


def pack(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], bytes]:
    """What lies where (JSON can hold it), and the blob.

    >>> index, blob = pack({"level": np.array([1.0, 2.0])})
    >>> unpack(index, blob)["level"].tolist()
    [1.0, 2.0]
    """
    index: dict[str, Any] = {}
    parts: list[bytes] = []
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        index[name] = [little.dtype.str, list(little.shape)]
        parts += (little.tobytes(), b"\0" * (-little.nbytes % _ALIGNED))
    return index, b"".join(parts)


def unpack(index: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
    """The arrays, which cannot be written to. Raises ValueError where the blob is too short for them."""
    arrays: dict[str, Any] = {}
    offset = 0
    for name, (kind, shape) in index.items():
        dtype, count = np.dtype(str(kind)), int(np.prod(shape, dtype=np.int64))
        content = np.frombuffer(blob, dtype=dtype, count=count, offset=offset) if count else np.empty(0, dtype)
        arrays[name] = content.reshape(shape)
        offset += count * dtype.itemsize + -(count * dtype.itemsize) % _ALIGNED
    return arrays


def digest(content: bytes) -> str:
    """What identifies a blob."""
    return blake2b(content, digest_size=12).hexdigest()
