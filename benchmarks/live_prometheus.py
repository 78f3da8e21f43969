"""A real Prometheus of this machine that is told its samples by remote write, so that no time is spent waiting."""

import re
import socket
import struct
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from deployments.sandbox.programs import PROMETHEUS, find_program
from quell.incidents.errors import Unavailable
from quell.incidents.labels import Labels
from quell.incidents.series import FloatArray

SERIES_PER_REQUEST = 5_000
_READY_SECONDS = 30
_CONFIG = (
    "global:\n  scrape_interval: 15s\n  evaluation_interval: 15s\nscrape_configs: []\nrule_files: ['{folder}/*.yml']\n"
)


@dataclass(frozen=True, slots=True)
class LivePrometheus:
    url: str
    folder: Path  # of rule files

    def write(self, labels: Sequence[Labels], timestamps: FloatArray, values: FloatArray) -> None:
        """Take the samples of every series; values have shape (T, S)."""
        moments = [_varint(int(at * 1000)) for at in timestamps.tolist()]
        with httpx.Client(trust_env=False, timeout=60) as client:
            for start in range(0, len(labels), SERIES_PER_REQUEST):
                part = labels[start : start + SERIES_PER_REQUEST]
                columns = values[:, start : start + SERIES_PER_REQUEST].T.tolist()
                body = b"".join(_series(one, column, moments) for one, column in zip(part, columns, strict=True))
                headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
                client.post(
                    f"{self.url}/api/v1/write", content=_stored_snappy(body), headers=headers
                ).raise_for_status()

    def query_seconds(self, query: str, at: float) -> float:
        """The time of one instant query, answer included."""
        begun = time.perf_counter()
        data = {"query": query, "time": f"{at:.3f}"}
        with httpx.Client(trust_env=False, timeout=120, headers={"Accept-Encoding": "identity"}) as client:
            client.post(f"{self.url}/api/v1/query", data=data).raise_for_status()
        return time.perf_counter() - begun

    def rule_seconds(self, expression: str, evaluations: int) -> list[float]:
        """How long the server says that evaluations of an alerting rule took; the first one is left out."""
        rule = f"groups:\n- name: band\n  interval: 5s\n  rules:\n  - alert: Band\n    expr: '{expression}'\n"
        (self.folder / "band.yml").write_text(rule)
        httpx.post(f"{self.url}/-/reload", trust_env=False).raise_for_status()
        seen: dict[float, float] = {}
        deadline = time.monotonic() + 30 + 15 * evaluations
        while len(seen) <= evaluations and time.monotonic() < deadline:
            time.sleep(0.25)
            text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=30).text
            ended, took = _gauge(text, "last_evaluation_timestamp_seconds"), _gauge(text, "last_duration_seconds")
            if ended and took:
                seen[ended] = took
        (self.folder / "band.yml").unlink()
        httpx.post(f"{self.url}/-/reload", trust_env=False).raise_for_status()
        return list(seen.values())[1:]


@contextmanager
def live_prometheus(folder: Path) -> Generator[LivePrometheus]:
    """Start it in the folder on a free port; it ends with the block. Raises Unavailable where it does not start."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(_CONFIG.format(folder=rules))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [
        find_program(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--web.enable-remote-write-receiver",
        "--web.enable-lifecycle",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(url, process, folder / "log")
        yield LivePrometheus(url, rules)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise Unavailable(f"prometheus at {url} is not ready after {_READY_SECONDS} s: {log.read_text()[-500:]}")


def _gauge(text: str, name: str) -> float | None:
    found = re.search(rf"^prometheus_rule_group_{name}\{{[^}}]*band[^}}]*\}} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def _series(labels: Labels, values: Sequence[float], moments: Sequence[bytes]) -> bytes:
    """One TimeSeries of a WriteRequest, in protobuf's wire format: labels are field 1, samples are field 2."""
    parts = [_field(1, _field(1, name.encode()) + _field(2, text.encode())) for name, text in sorted(labels.items())]
    parts += [
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + moment)
        for value, moment in zip(values, moments, strict=True)
    ]
    return _field(1, b"".join(parts))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """
    >>> _varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _stored_snappy(content: bytes) -> bytes:
    """Snappy's block format without compression: the length, then literals of at most 64 KiB."""
    parts = [_varint(len(content))]
    for start in range(0, len(content), 65536):
        literal = content[start : start + 65536]
        parts += (b"\xf4" + struct.pack("<H", len(literal) - 1), literal)
    return b"".join(parts)
