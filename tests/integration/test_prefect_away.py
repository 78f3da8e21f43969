"""Without a Prefect server, what needs it says so in one clear error that callers can try again after."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from quell.incidents.errors import Unavailable
from tasks.runs import resume_run, resumed_at, run_state, start_run

pytestmark = pytest.mark.integration


def test_every_question_to_an_absent_server_is_unavailable() -> None:
    """The responder lives on such errors; anything else would end it."""
    run = str(uuid4())
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(Unavailable, match="Prefect server does not answer"):
            run_state(run)
        with pytest.raises(Unavailable, match="Prefect server does not answer"):
            resume_run(run, {})
        with pytest.raises(Unavailable, match="Prefect server does not answer"):
            resumed_at(run)
        with pytest.raises(Unavailable, match="could not be started"):
            start_run("resolve/resolve", {}, key="k")


class Busy(BaseHTTPRequestHandler):
    """What a Prefect server on SQLite says while another writer holds its database."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Not a word."""


@pytest.fixture
def busy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_a_server_that_is_too_busy_is_unavailable_as_well(busy: str) -> None:
    """The responder ended at the first one, in the middle of everything else that it does."""
    run = str(uuid4())
    with temporary_settings({PREFECT_API_URL: busy, PREFECT_CLIENT_MAX_RETRIES: 0}):
        for ask in (lambda: run_state(run), lambda: resume_run(run, {}), lambda: resumed_at(run)):
            with pytest.raises(Unavailable, match="503"):
                ask()
        with pytest.raises(Unavailable, match="could not be started"):
            start_run("resolve/resolve", {}, key="k")
