"""A service that can do so much and no more, in a process of its own, and HAProxy in front of it.

`python -m benchmarks.limited_service PORT` answers each request after a time drawn from a gamma distribution. HAProxy
sends it as many requests at once as it has workers and keeps the others waiting, as its manual advises (`maxconn` of
the server, `timeout queue`): what it can do is workers divided by the mean time, and the overload is in the queue.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from deployments.sandbox.ports import free_port
from deployments.sandbox.programs import PROMETHEUS, find_program
from deployments.sandbox.trial_proxy import TrialProxy
from deployments.sandbox.wire import Request, Response, json_response, serve

WORKERS = 12
MEAN_SECONDS = 0.1
SHAPE = 6.0  # of the gamma distribution: its 99th percentile is 2.2 times the mean
BACKEND = "be_service"
QUEUE_SECONDS = 3

_MORE = """
backend be_service
  timeout queue {queue}s
  server service-1 127.0.0.1:{port} maxconn {workers}
frontend fe_metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


@contextmanager
def limited_shop(folder: Path) -> Iterator[tuple[TrialProxy, int]]:
    """HAProxy in front of the service, and the port on which HAProxy's metrics are."""
    port, metrics = free_port(), free_port()
    more = _MORE.format(queue=QUEUE_SECONDS, port=port, workers=WORKERS, metrics=metrics)
    with ExitStack() as stack:
        service = subprocess.Popen([sys.executable, "-m", "benchmarks.limited_service", str(port)])
        stack.callback(end, service)
        wait_for_answer(port)
        yield stack.enter_context(TrialProxy(folder, more=more, route=BACKEND)), metrics


@contextmanager
def scraping_prometheus(folder: Path, port: int) -> Iterator[str]:
    """A Prometheus that scrapes this port once a second; its address."""
    folder.mkdir(parents=True)
    job = f"{{job_name: haproxy, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}"
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: [{job}]\n")
    own = free_port()
    command = [find_program(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=log)
    try:
        wait_for_answer(own)
        yield f"http://127.0.0.1:{own}"
    finally:
        end(process)


async def _handle(request: Request) -> Response:  # noqa: ARG001 - every request is the same
    await asyncio.sleep(random.gammavariate(SHAPE, MEAN_SECONDS / SHAPE))
    return json_response({"result": "done"})


async def _serve(port: int) -> None:
    server = await serve(_handle, port)
    await server.serve_forever()


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(timeout=20)


def wait_for_answer(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=2, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing answers on port {port} after 30 s")


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
