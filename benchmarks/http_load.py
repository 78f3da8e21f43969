"""A small HTTP/1.1 client for load: ready-made requests over keep-alive connections, in a process of its own.

`python -m benchmarks.http_load` reads one JSON job from standard input and prints what it measured; it is used by
`benchmarks.intake` and costs as little as Python can, because it runs on the cores of what it measures.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is whole, or when its time has come."""

    def __init__(self, requests: list[bytes], stop_at: float, every: float, note: Callable[[float, int], None]) -> None:
        self._requests = requests
        self._stop_at = stop_at
        self._every = every
        self._note = note
        self._buffer = b""
        self._number = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._due = time.perf_counter()
        self._send()

    def _send(self) -> None:
        # with a rate, the time counts from when the request was due: waiting in line is waiting
        self._sent = self._due if self._every else time.perf_counter()
        self._transport.write(self._requests[self._number % len(self._requests)])
        self._number += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        now = time.perf_counter()
        self._note(now - self._sent, int(head[9:12]))
        if now >= self._stop_at or self._number >= len(self._requests):
            self._finish()
            return
        self._due += self._every
        if self._every and self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send)
        else:
            self._send()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its signature
        if not self.done.done():
            self.done.set_result(None)


def _payload(start: int, size: int, form: str) -> bytes:
    labels = [
        {
            "alertname": "InstanceErrors",
            "service": f"service-{n % 40}",
            "instance": f"instance-{n}",
            "severity": "critical",
            "cluster": "eu-1",
            "job": "shop",
        }
        for n in range(start, start + size)
    ]
    alerts = [
        {
            "labels": each,
            "annotations": {"summary": "61 % of requests fail", "runbook": "https://runbooks.example/errors"},
            "startsAt": "2026-11-23T07:58:54.725Z",
            "endsAt": "2036-11-23T07:58:54.725Z",
            "generatorURL": "http://prometheus.example/graph?g0.expr=errors",
        }
        for each in labels
    ]
    assert form == "v2"
    return json.dumps(alerts).encode()


def _requests(job: dict[str, Any], connection: int) -> list[bytes]:
    count, size = job["requests"], job["alerts"]
    head = f"POST {job['path']} HTTP/1.1\r\nHost: {job['host']}:{job['port']}\r\nContent-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in job["headers"].items())
    bodies = (_payload(job["first"] + (connection * count + n) * size, size, "v2") for n in range(count))
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


async def _run(job: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    statuses: dict[int, int] = {}

    def note(seconds: float, status: int) -> None:
        times.append(seconds)
        statuses[status] = statuses.get(status, 0) + 1

    prepared = [_requests(job, number) for number in range(job["connections"])]
    start = time.perf_counter()
    every = job["connections"] / job["rate"] if job.get("rate") else 0.0
    made = [
        await loop.create_connection(
            lambda requests=requests: _Connection(requests, start + job["seconds"], every, note),
            job["host"],
            job["port"],
        )
        for requests in prepared
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    seconds = time.perf_counter() - start
    ordered = sorted(times)
    return {
        "requests": len(times),
        "seconds": seconds,
        "statuses": statuses,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(0.99 * (len(ordered) - 1))],
        "max_ms": 1000 * ordered[-1],
    }


def main() -> None:
    job = json.loads(sys.stdin.read())
    print(json.dumps(uvloop.run(_run(job))))


if __name__ == "__main__":
    main()
