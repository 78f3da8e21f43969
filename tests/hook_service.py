"""A small service with feature flags that keeps the promises of an HTTP hook: what the actuator is tried on."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from quell.adapters.signature import is_signed


@dataclass
class HookService:
    """Flags by name. A key that was seen is answered without acting again; what is not signed is answered 401."""

    secret: str
    url: str = ""
    flags: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"search": {"enabled": True, "share": 100}, "a/b ü": {"enabled": True, "share": 100}}
    )
    seen: set[str] = field(default_factory=set[str])
    acts: list[str] = field(default_factory=list[str])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    answer: tuple[int, bytes] | None = None  # what everything is answered, when set
    drip: bool = False  # answers come a byte at a time, each in less time than a timeout
    hold: threading.Event | None = None  # answers wait for it, when set

    def get(self, name: str) -> tuple[int, bytes]:
        flag = self.flags.get(name)
        return (404, b"no such flag") if flag is None else (200, json.dumps(flag).encode())

    def post(self, operation: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.bodies.append(body)
        if body["target"] not in self.flags:
            return 404, b"no such flag"
        if body["idempotency_key"] not in self.seen:
            self.seen.add(body["idempotency_key"])
            self.acts.append(f"{operation} {body['target']}")
            if operation == "apply":
                self.flags[body["target"]] = {"enabled": False, "share": int(body["params"]["share"])}
            else:
                before = body["state_before"]
                self.flags[body["target"]] = {name: json.loads(value) for name, value in before.items()}
        return 200, b"{}"


@contextmanager
def hook_service(secret: str) -> Iterator[HookService]:
    service = HookService(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"", lambda: service.get(unquote(self.path.rpartition("/")[2])))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["idempotency-key"] == json.loads(body)["idempotency_key"]
            self._answer(body, lambda: service.post(self.path.rpartition("/")[2], json.loads(body)))

        def _answer(self, body: bytes, act: Any) -> None:
            stamp, given = self.headers["x-quell-timestamp"].encode(), self.headers["x-quell-signature"].encode()
            if service.hold is not None:
                service.hold.wait(5)
            status, said = (401, b"the signature does not hold")
            if is_signed(given, service.secret.encode(), stamp, body):
                status, said = service.answer or act()
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            with suppress(BrokenPipeError, ConnectionResetError):  # who asks may have given up
                self.end_headers()
                for part in [said[n : n + 1] for n in range(len(said))] if service.drip else [said]:
                    self.wfile.write(part)
                    time.sleep(0.05 if service.drip else 0)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield service
    server.shutdown()
    server.server_close()
