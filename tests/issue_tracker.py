"""A tracker over real HTTP that answers as GitHub and GitLab document it, and as a webhook's receiver would.

GitHub: docs.github.com/rest/issues/issues; GitLab: docs.gitlab.com/api/issues. Only what is asked of them here.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "t0ken-4711"


@dataclass
class IssueTracker:
    """`answers` are given one after the other instead of the real one. "made, then silent" makes the issue, says so in
    `made` and answers only when `released`; "GET, then silent" and "POST, then silent" do nothing with what came."""

    url: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    issues: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    got: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    made: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    keys: dict[str, str] = field(default_factory=dict[str, str])  # of a webhook's messages

    def posts(self) -> list[Any]:
        return [body for method, _, _, body in self.got if method == "POST"]

    def answer(self, method: str, target: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        self.got.append((method, target, headers, body))
        path, query = urlsplit(target).path, {k: v[0] for k, v in parse_qs(urlsplit(target).query).items()}
        if self.answers and self.answers[0] == f"{method}, then silent":  # it came, and nothing was done about it
            self._be_silent()
            return 503, {"message": "later"}
        if method == "POST" and self.answers and isinstance(self.answers[0], int):
            return int(self.answers.pop(0)), {"message": "no"}
        if path.startswith("/repos/"):
            return self._github(method, path, query, headers, body)
        if path.startswith("/api/v4/projects/"):
            return self._gitlab(method, path, query, headers, body)
        return self._hook(headers, body)

    def _github(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Any:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        project = path.removeprefix("/repos/").removesuffix("/issues")
        if project not in self.issues:
            return 404, {"message": "Not Found"}
        if method == "GET":
            return 200, self._page(project, query, since=query.get("since", ""))
        if not body.get("title"):
            return 422, {"message": "Validation Failed"}
        number = len(self.issues[project]) + 1
        url = f"https://github.example/{project}/issues/{number}"
        return 201, self._make(project, {**body, "number": number, "html_url": url})

    def _gitlab(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Any:
        if headers.get("private-token") != TOKEN:
            return 401, {"message": "401 Unauthorized"}
        raw = path.removeprefix("/api/v4/projects/").removesuffix("/issues")
        project = unquote(raw)
        if "/" in raw or project not in self.issues:
            return 404, {"message": "404 Project Not Found"}
        if method == "GET":
            return 200, self._page(project, query, since=query.get("created_after", ""))
        number = len(self.issues[project]) + 1
        url = f"https://gitlab.example/{project}/-/issues/{number}"
        return 201, self._make(project, {**body, "iid": number, "web_url": url})

    def _hook(self, headers: dict[str, str], body: Any) -> Any:
        key = headers.get("idempotency-key", "")
        self.keys.setdefault(key, f"https://tickets.example/{len(self.keys) + 1}")
        return 200, {"url": self.keys[key]}

    def _make(self, project: str, issue: dict[str, Any]) -> dict[str, Any]:
        made = {**issue, "created_at": f"{self.now:%Y-%m-%dT%H:%M:%SZ}"}
        self.issues[project].append(made)
        if self.answers and self.answers[0] == "made, then silent":
            self._be_silent()
        return made

    def _be_silent(self) -> None:
        self.answers.pop(0)
        self.made.set()
        self.released.wait(30)

    def _page(self, project: str, query: dict[str, str], *, since: str) -> list[dict[str, Any]]:
        found = [issue for issue in reversed(self.issues[project]) if issue["created_at"] >= since]
        size, page = int(query["per_page"]), int(query["page"])
        return found[(page - 1) * size : page * size]


@contextmanager
def issue_tracker() -> Iterator[IssueTracker]:
    tracker = IssueTracker()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self._answer(None)

        def _answer(self, body: Any) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, said = tracker.answer(self.command, self.path, headers, body)
            text = json.dumps(said).encode()
            with suppress(OSError):  # the sender has gone away
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tracker.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield tracker
    finally:
        tracker.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
