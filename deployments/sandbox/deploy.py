"""The shop's deploy tool: `deploy DIR INSTANCE [--announce]` makes an instance take its committed file and proves it.

With --announce the change event goes to Quell's gateway, as the last step of a deployment pipeline would send it. With
--running it changes nothing and prints the commit that the instance runs.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.sandbox.credentials import credentials
from deployments.sandbox.layout import Layout
from deployments.sandbox.repository import Commit, last_commit
from quell.incidents.errors import InvalidInput, QuellError, Unavailable

_TIMEOUT_SECONDS = 5.0
_ANNOUNCEMENTS = 3


def exchange(
    method: str,
    url: str,
    body: object = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Send JSON, get JSON. Raises InvalidInput on 4xx (the text is the server's) and Unavailable otherwise."""
    data = None if body is None else json.dumps(body).encode()
    said = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=said)
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as reply:
            return json.loads(reply.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace").strip()
        kind = InvalidInput if 400 <= error.code < 500 else Unavailable
        raise kind(f"{method} {url} answered {error.code}: {text}") from error
    except OSError as error:
        raise Unavailable(f"{method} {url} got no answer: {error}") from error


def deploy(layout: Layout, instance: str) -> Commit:
    """Make the instance read its file, and confirm that the file's last commit is in force. Raises QuellError."""
    expected = last_commit(layout.settings_file(instance))
    url = layout.url(layout.instance(instance).name)
    exchange("POST", f"{url}/reload", {})
    in_force = exchange("GET", f"{url}/config")["commit"]
    if in_force != expected.sha:
        raise Unavailable(f"{instance} runs commit {in_force[:10]}, expected {expected.sha[:10]}; deploy again")
    return expected


def change_event(layout: Layout, instance: str, commit: Commit) -> dict[str, Any]:
    return {
        "kind": "config",
        "service": layout.instance(instance).service,
        "instance": instance,
        "at": commit.at.isoformat(),
        "summary": commit.summary,
        "author": commit.author,
        "commit": commit.sha,
        "url": f"file://{layout.repository}#{commit.sha}",
    }


def announce(layout: Layout, instance: str, commit: Commit) -> None:
    """Tell the gateway, trying a few times while it cannot be reached. Raises QuellError."""
    url, event = f"{layout.gateway_url}/api/v1/changes", change_event(layout, instance, commit)
    for attempt in range(1, _ANNOUNCEMENTS + 1):
        try:
            exchange("POST", url, event, headers=credentials(layout.secrets, "pipeline"))
        except Unavailable:
            if attempt == _ANNOUNCEMENTS:
                raise
            time.sleep(0.5 * attempt)
        else:
            return


def main(arguments: list[str]) -> int:
    wanted = [argument for argument in arguments if not argument.startswith("--")]
    if len(wanted) != 2 or not {*arguments} - {*wanted} <= {"--announce", "--running"}:
        print("usage: deploy DIR INSTANCE [--announce | --running]", file=sys.stderr)
        return 2
    try:
        layout = Layout.load(Path(wanted[0]))
        if "--running" in arguments:
            print(exchange("GET", f"{layout.url(wanted[1])}/config")["commit"])
            return 0
        commit = deploy(layout, wanted[1])
        print(f"{wanted[1]} runs {commit.sha[:10]} ({commit.summary})")
        if "--announce" in arguments:
            announce(layout, wanted[1], commit)
    except QuellError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
