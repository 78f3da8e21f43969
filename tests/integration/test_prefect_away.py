"""Without a Prefect server, what needs it says so in one clear error that callers can try again after."""

from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

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
