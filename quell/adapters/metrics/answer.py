"""How Prometheus' JSON answer becomes a matrix: typed decoding, then one column per series on the asked grid."""

import gc
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import msgspec
import numpy as np

from quell.incidents.series import FloatArray, SeriesMatrix

Sample = tuple[float, str]


class _Series(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: msgspec.Raw = msgspec.Raw(b"")  # a million samples as objects would take 130 MB: they are read as text
    value: Sample | None = None


class _Data(msgspec.Struct, tag_field="resultType"):
    pass


class _Many(_Data, tag="matrix"):
    result: list[_Series] = []


class _Vector(_Data, tag="vector"):
    result: list[_Series] = []


class _Scalar(_Data, tag="scalar"):
    result: Sample


class _Text(_Data, tag="string"):
    result: Sample


class Answer(msgspec.Struct):
    """The envelope of every answer. `warnings` is set where a server could answer only in part (Thanos, Mimir)."""

    status: str
    data: _Many | _Vector | _Scalar | _Text | None = None
    errorType: str = ""  # noqa: N815 - the server's own spelling
    error: str = ""
    warnings: list[str] = []


class NamesAnswer(msgspec.Struct):
    """The answer of /api/v1/label/NAME/values."""

    status: str
    data: list[str] = []


_READ_AT_ONCE = 1_000  # series
_NOT_NUMBERS = b'[]" \t\r\n'
_ANSWER = msgspec.json.Decoder(Answer)
_NAMES = msgspec.json.Decoder(NamesAnswer)


def decode_answer(body: bytes) -> Answer:
    """Decode one answer; raises msgspec.DecodeError where it is not one of Prometheus."""
    with _collector_paused():
        return _ANSWER.decode(body)


@contextmanager
def _collector_paused() -> Generator[None]:
    """A large answer is a million small objects, none of them garbage: looking through them costs more than parsing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def decode_names(body: bytes) -> list[str]:
    return _NAMES.decode(body).data


def matrix_on_grid(answer: Answer, timestamps: FloatArray) -> SeriesMatrix:
    """The series of a range answer on the grid; a moment without sample is NaN. Raises msgspec.DecodeError."""
    series = answer.data.result if isinstance(answer.data, _Many) else []
    values = np.full((len(timestamps), len(series)), np.nan)
    for start in range(0, len(series), _READ_AT_ONCE):
        part = series[start : start + _READ_AT_ONCE]
        _fill(values[:, start : start + len(part)], [bytes(one.values) for one in part], timestamps)
    return SeriesMatrix(
        timestamps=timestamps,
        values=values,
        labels=tuple(s.metric for s in series),
        warnings=tuple(answer.warnings),
    )


def _fill(columns: FloatArray, texts: list[bytes], timestamps: FloatArray) -> None:
    counts = np.array([max(text.count(b"[") - 1, 0) for text in texts])
    text = b",".join(text for text, count in zip(texts, counts, strict=True) if count)
    numbers = _numbers(text)
    if len(numbers) != 2 * counts.sum():
        raise msgspec.DecodeError(f"{counts.sum()} samples are not as many moments and numbers: {_begin(text)}")
    samples = numbers.reshape(-1, 2)
    column = np.repeat(np.arange(len(texts)), counts)
    # Servers print milliseconds while the grid is exact: take the nearest point, within half a step.
    step = timestamps[1] - timestamps[0] if len(timestamps) > 1 else 1.0
    row = np.rint((samples[:, 0] - timestamps[0]) / step).astype(np.int64)
    inside = (row >= 0) & (row < len(timestamps))
    columns[row[inside], column[inside]] = samples[inside, 1]


def _numbers(text: bytes) -> FloatArray:
    """`[[1.5,"2"],[3,"NaN"]]` without brackets and quotes is a list of numbers, which numpy reads without objects."""
    plain = text.translate(None, _NOT_NUMBERS).decode("ascii", "replace")
    try:
        return np.fromstring(plain, dtype=np.float64, sep=",") if plain else np.empty(0)
    except ValueError as error:
        raise msgspec.DecodeError(f"some samples are no numbers: {_begin(text)}") from error


def _begin(text: bytes) -> str:
    return text[:60].decode("utf-8", "replace")


def matrix_of_instant(answer: Answer, at: float) -> SeriesMatrix:
    """The last value of each series, as a matrix with one row; a scalar is one series without labels."""
    found: list[tuple[dict[str, str], float]] = []
    if isinstance(answer.data, _Vector):
        found = [(s.metric, float(s.value[1])) for s in answer.data.result if s.value is not None]
    elif isinstance(answer.data, _Scalar):
        found = [({}, float(answer.data.result[1]))]
    values = np.array([value for _, value in found], dtype=np.float64).reshape(1, len(found))
    return SeriesMatrix(
        timestamps=np.array([at]),
        values=values,
        labels=tuple(labels for labels, _ in found),
        warnings=tuple(answer.warnings),
    )


def join_in_time(parts: Sequence[SeriesMatrix]) -> SeriesMatrix:
    """One matrix from matrices that follow each other in time; a series missing from a part is NaN there."""
    if len(parts) == 1:
        return parts[0]
    keys = [[tuple(sorted(one.items())) for one in part.labels] for part in parts]
    labels = [one for part in parts for one in part.labels]
    unique = dict(zip((key for part in keys for key in part), labels, strict=True))
    columns = {key: column for column, key in enumerate(unique)}
    timestamps = np.concatenate([part.timestamps for part in parts])
    values = np.full((len(timestamps), len(columns)), np.nan)
    row = 0
    for part, part_keys in zip(parts, keys, strict=True):
        values[row : row + len(part.timestamps), [columns[key] for key in part_keys]] = part.values
        row += len(part.timestamps)
    warnings = tuple(dict.fromkeys(warning for part in parts for warning in part.warnings))
    return SeriesMatrix(timestamps=timestamps, values=values, labels=tuple(unique.values()), warnings=warnings)
