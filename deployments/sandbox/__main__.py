"""The sandbox on the command line: up, down, status, fault, clear, load."""

import argparse
import json
import sys
from pathlib import Path

from deployments.sandbox.faults import FAULTS
from deployments.sandbox.layout import DEFAULT_BASE_PORT
from deployments.sandbox.sandbox import Sandbox
from quell.incidents.errors import QuellError

_DEFAULT_FOLDER = Path(".quell/sandbox")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in {
        "up": "start the shop and leave it running",
        "down": "stop it",
        "status": "what runs, and which faults are in force",
        "fault": "inject a fault",
        "clear": "clear a fault",
        "load": "what the customers saw in the last seconds",
    }.items():
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--dir", type=Path, default=_DEFAULT_FOLDER, help="default: %(default)s")
        if name == "up":
            command.add_argument("--base-port", type=int, default=DEFAULT_BASE_PORT, help="default: %(default)s")
            command.add_argument("--gateway-url", help="where alerts and change events go")
            command.add_argument("--fresh", action="store_true", help="forget what the folder held before")
        if name in ("fault", "clear"):
            command.add_argument("name", choices=list(FAULTS))
        if name == "fault":
            command.add_argument("params", nargs="*", metavar="KEY=VALUE")
        if name == "load":
            command.add_argument("--seconds", type=int, default=5)
    return parser


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _run(options: argparse.Namespace) -> object:
    if options.command == "up":
        sandbox = Sandbox(options.dir, options.base_port, options.gateway_url)
        sandbox.up(detached=True, fresh=options.fresh)
        return {"shop": sandbox.layout.url("fe_shop"), "control": sandbox.layout.url("control")}
    sandbox = Sandbox.load(options.dir)
    match options.command:
        case "down":
            sandbox.down()
            return {"down": str(sandbox.layout.folder)}
        case "status":
            return {**sandbox.state(), "faults": sandbox.faults()} if sandbox.is_up() else {"ready": False}
        case "fault":
            params = dict(pair.split("=", 1) for pair in options.params)
            return sandbox.inject(options.name, **{key: _value(text) for key, text in params.items()})  # type: ignore[arg-type]
        case "clear":
            return {"cleared": sandbox.clear(options.name)}
    return sandbox.load_seen(options.seconds)


def main() -> int:
    try:
        print(json.dumps(_run(_parser().parse_args()), indent=2))
    except QuellError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
