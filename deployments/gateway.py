"""The gateway as a process: `python -m deployments.gateway` serves what the configuration in QUELL_CONFIG says."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from deployments.http_protocol import GatewayProtocol
from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from quell.incidents.errors import Unavailable
from tasks.acts import act
from tasks.anomalies import label, series_of
from tasks.approval import decide
from tasks.main_signal import series_for
from tasks.resources import Resources, resources
from tasks.review_desk import act_on_review
from tasks.review_overdue import read_duties
from tasks.runs import run_url
from tasks.sign_in import sign_in
from tasks.users_chart import users_signal
from tasks.weekly import report_on

STOP_WITHIN_SECONDS = 5  # open requests may finish; senders repeat what they got no answer to


class GatewayServer(uvicorn.Server):
    """Ends the live pages' streams when it is told to stop: it would wait for them until its patience is over."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.live.close()
        await super().shutdown(sockets)


@contextmanager
def serving(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """The application over real HTTP on this machine while the block lasts, in a thread; yields its address.

    It ends before its patience with open requests does, or raises Unavailable: streams must not hold up its end.
    """
    config = uvicorn.Config(
        app,
        port=port,
        http=GatewayProtocol,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=STOP_WITHIN_SECONDS,
    )
    server = GatewayServer(config)
    thread = threading.Thread(target=server.run, name="gateway", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise Unavailable(f"the gateway does not start on port {port}")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_WITHIN_SECONDS - 1)
    if thread.is_alive():
        raise Unavailable(f"the gateway does not end within {STOP_WITHIN_SECONDS - 1} s")


def build_app(res: Resources) -> FastAPI:
    """The gateway on the given resources."""
    return create_app(
        GatewayDeps(
            store=res.store,
            config=res.config,
            clock=res.clock,
            decide=partial(decide, res),
            run_url=run_url,
            series_for=partial(series_for, res),
            users_signal=partial(users_signal, res),
            label=partial(label, res),
            series_of=partial(series_of, res),
            weekly=partial(report_on, res),
            sign_in=partial(sign_in, res),
            act=partial(act, res),
            review=partial(act_on_review, res),
            duties=partial(read_duties, res),
        )
    )


def main() -> None:
    res = resources()
    c = res.config.connections
    config = uvicorn.Config(
        build_app(res),
        host=c.gateway_host,
        port=c.gateway_port,
        http=GatewayProtocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_WITHIN_SECONDS,
    )
    GatewayServer(config).run()


if __name__ == "__main__":
    main()
