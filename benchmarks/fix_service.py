"""An instance that a fix is tried on, and its commands: `serve PORT FILE BROKEN [NAME]`, `reload PORT`, `running PORT`.

It answers with what it read when it last reloaded its file: 500 where the timeout in it is too short, or while the
file BROKEN exists (what is wrong with it is something else; the file may hold the one path that fails). A script of its
own, so that a reload starts quickly.
"""

import os
import re
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHORTEST_MS = 50
_SLOW_SECONDS = 1.5


class Instance(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file = broken = Path()
    running = name = ""

    def do_GET(self) -> None:
        if self.path == "/running":
            self._answer(200, Instance.running)
            return
        if self.path == "/slow":
            time.sleep(_SLOW_SECONDS)
        found = re.search(r"payment_timeout_ms: (\d+)", Instance.running)
        is_well = found is not None and int(found[1]) >= SHORTEST_MS and not self._is_broken()
        self._answer(200 if is_well else 500, "")

    def _is_broken(self) -> bool:
        """On the path that stands in the file, or on every one where it is empty."""
        return self.broken.exists() and self.broken.read_text() in ("", self.path)

    def do_POST(self) -> None:
        Instance.running = self.file.read_text()
        self._answer(200, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.send_header("x-instance", self.name)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def main(verb: str, port: str, *more: str) -> None:
    url = f"http://127.0.0.1:{port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    match verb:
        case "serve":
            Instance.file, Instance.broken = Path(more[0]), Path(more[1])
            Instance.name = more[2] if more[2:] else Instance.file.stem
            Instance.running = Instance.file.read_text()
            ThreadingHTTPServer(("127.0.0.1", int(port)), Instance).serve_forever()
        case "reload":
            _stand_still()
            opener.open(urllib.request.Request(f"{url}/reload", data=b"", method="POST"), timeout=5).read()
        case _:
            sys.stdout.write(opener.open(f"{url}/running", timeout=5).read().decode())


def _stand_still() -> None:
    """Where the test stops the reload, as it stops git: see fix_victim.py."""
    mark = Path(os.environ.get("FIX_KILLS_MARK", "/"))
    if os.environ.get("FIX_KILLS_STOP") == "reload" and not mark.exists():
        mark.write_text(f"{os.getpid()} reload")
        time.sleep(0.6 if os.environ.get("FIX_KILLS_MODE") == "orphan" else 60)


if __name__ == "__main__":
    main(*sys.argv[1:])
