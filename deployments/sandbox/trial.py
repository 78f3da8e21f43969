"""`trial DIR TREE INSTANCE`: try one version of the shop's configuration where no customer is; exit 0 good, 1 bad.

The instance and everything that it may call run in this process, with the settings of the tree and on ports of their
own: each port of the sandbox in DIR stands for the same one of a free family. A few dozen requests are answered, then
everything is gone. The sandbox itself is not asked anything.
"""

import asyncio
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.sandbox.layout import REPLICAS, Layout, find_base_port
from deployments.sandbox.service import Service
from deployments.sandbox.wire import Request, serve
from quell.incidents.errors import QuellError

REQUESTS = 40
MOST_FAILED = 0.1  # of the requests
_LONGEST_SECONDS = 5.0
_FAMILY = 100  # ports of one sandbox
_PORT = re.compile(r"^(\w+_port:\s*)(\d+)", re.MULTILINE)


async def try_instance(real: Layout, tree: Path, name: str) -> tuple[int, int, str]:
    """How many requests were made, how many of them failed, and what the last failure said. Raises QuellError."""
    with TemporaryDirectory(prefix="trial-") as folder:
        layout = Layout(folder=Path(folder), base_port=find_base_port())
        _copy_settings(real, layout, tree)
        servers = [await serve(_first_of(layout, one).handle, layout.port(f"fe_{one}")) for one in _called()]
        instance = Service(layout, name)
        asked = [_ask(instance, "/health"), *(_ask(instance, "/") for _ in range(REQUESTS))]
        outcomes = await asyncio.gather(*asked)
        for server in servers:
            server.close()
    failed = [text for status, text in outcomes if status != 200]
    is_unwell = outcomes[0][0] != 200  # a load balancer would send it nothing
    return len(outcomes), len(outcomes) if is_unwell else len(failed), outcomes[0][1] if is_unwell else _last(failed)


def _last(texts: list[str]) -> str:
    return texts[-1] if texts else ""


def _copy_settings(real: Layout, layout: Layout, tree: Path) -> None:
    """A wrong port stays as wrong as it was, and never leads to the sandbox itself."""

    def own(found: re.Match[str]) -> str:
        offset = int(found[2]) - real.base_port
        return f"{found[1]}{layout.base_port + offset}" if 0 <= offset < _FAMILY else found[0]

    target = layout.repository / "services"
    target.mkdir(parents=True)
    for file in sorted((tree / "services").glob("*.yaml")):
        (target / file.name).write_text(_PORT.sub(own, file.read_text()))


def _called() -> list[str]:
    return [service for service in REPLICAS if service != "storefront"]  # nobody calls the storefront


def _first_of(layout: Layout, service: str) -> Service:
    return Service(layout, layout.of_service(service)[0].name)


async def _ask(instance: Service, path: str) -> tuple[int, str]:
    request = Request(method="GET", path=path, query={}, headers={"x-client": "trial"})
    try:
        response = await asyncio.wait_for(instance.handle(request), _LONGEST_SECONDS)
    except TimeoutError:
        return 504, f"no answer in {_LONGEST_SECONDS:g} s"
    return response.status, response.body.decode().strip()


def main(arguments: list[str]) -> int:
    match arguments:
        case [folder, tree, name]:
            pass
        case _:
            print("usage: trial DIR TREE INSTANCE", file=sys.stderr)
            return 2
    try:
        asked, failed, said = asyncio.run(try_instance(Layout.load(Path(folder)), Path(tree), name))
    except QuellError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{failed} of {asked} requests failed{f': {said}' if said else ''}")
    return int(failed > asked * MOST_FAILED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
