"""`quell change` and `quell report`: what pipelines and people tell the gateway, over HTTP as any client would."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption
from deployments.cli.terminal import out, whoami

if TYPE_CHECKING:
    from pathlib import Path

GatewayOption = Annotated[
    str, typer.Option("--gateway", envvar="QUELL_GATEWAY", help="Gateway's address; default: the configuration's.")
]

TokenFileOption = Annotated[
    str, typer.Option("--token-file", help="File with the token of a source in sources.yaml; or QUELL_TOKEN holds it.")
]
TOKEN_VARIABLE = "QUELL_TOKEN"


def change(
    service: Annotated[str, typer.Option(help="The service that was changed.")],
    summary: Annotated[str, typer.Option(help="What was changed, in one line.")],
    kind: Annotated[str, typer.Option(help="deploy, config, flag or other.")] = "config",
    instance: Annotated[str, typer.Option(help="Only this instance, if not all.")] = "",
    commit: Annotated[str, typer.Option(help="Commit in the service's configuration repository.")] = "",
    author: Annotated[str, typer.Option(help="By default the login name.")] = "",
    at: Annotated[str, typer.Option(help="When, as in 2026-11-23T08:00:00Z; by default now.")] = "",
    url: Annotated[str, typer.Option(help="The pipeline's page.")] = "",
    gateway: GatewayOption = "",
    token_file: TokenFileOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Tell Quell of a deploy or a change of configuration, as the last step of a pipeline."""
    body = {
        "kind": kind, "service": service, "instance": instance, "at": at, "summary": summary,
        "author": author or whoami(), "commit": commit, "url": url,
    }  # fmt: skip
    _post(gateway, config, "changes", body, token_file)
    out().print(f"change of {service} is recorded", markup=False)


def report(
    text: Annotated[str, typer.Argument(help="What is wrong, in your words.")],
    service: Annotated[str, typer.Option(help="The service, if known.")] = "",
    reporter: Annotated[str, typer.Option(help="By default the login name.")] = "",
    gateway: GatewayOption = "",
    token_file: TokenFileOption = "",
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Report that something is wrong."""
    body = {"text": text, "service": service, "reporter": reporter or whoami()}
    _post(gateway, config, "reports", body, token_file)
    out().print("thank you, the report is recorded")


def _post(gateway: str, config: "Path", endpoint: str, body: dict[str, Any], token_file: str) -> None:
    """Raises Unavailable when the gateway does not take it: it is then not recorded and may be sent again."""
    import httpx

    from quell.incidents.errors import InvalidInput, Unavailable

    if not gateway:
        from quell.config.load import read_config

        gateway = read_config(config).gateway_url
    url = f"{gateway.rstrip('/')}/api/v1/{endpoint}"
    try:
        said = {key: value for key, value in body.items() if value}
        answer = httpx.post(url, json=said, headers=_credentials(token_file), timeout=10)
    except httpx.HTTPError as error:
        raise Unavailable(f"gateway at {gateway} does not answer ({error}); is `quell up` running?") from error
    if answer.is_success:
        return
    said = f"gateway at {url} answered {answer.status_code}: {answer.text[:500]}"
    raise InvalidInput(said) if 400 <= answer.status_code < 500 else Unavailable(said)


def _credentials(token_file: str) -> dict[str, str]:
    """Never an argument, where other users of the machine could read it. Raises InvalidInput."""
    from pathlib import Path

    from quell.incidents.errors import InvalidInput

    token = os.environ.get(TOKEN_VARIABLE, "")
    if token_file:
        try:
            token = Path(token_file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"token file {token_file} cannot be read ({error}): name a file with one token"
            ) from error
    token = token.strip()
    if (token_file and not token) or not token.isascii() or not token.isprintable():
        raise InvalidInput("the token is empty or not printable: give what `quell source new` printed")
    return {"Authorization": f"Bearer {token}"} if token else {}
