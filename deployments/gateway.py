"""The gateway as a process: `python -m deployments.gateway` serves what the configuration in QUELL_CONFIG says."""

from functools import partial

import uvicorn
from fastapi import FastAPI

from quell.gateway.app import create_app
from quell.gateway.deps import GatewayDeps
from tasks.anomalies import label, series_of
from tasks.approval import decide
from tasks.main_signal import series_for
from tasks.resources import Resources, resources
from tasks.runs import run_url

STOP_WITHIN_SECONDS = 5  # open requests may finish; senders repeat what they got no answer to


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
            label=partial(label, res),
            series_of=partial(series_of, res),
        )
    )


def main() -> None:
    res = resources()
    c = res.config.connections
    uvicorn.run(
        build_app(res),
        host=c.gateway_host,
        port=c.gateway_port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_WITHIN_SECONDS,
    )


if __name__ == "__main__":
    main()
