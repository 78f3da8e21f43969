"""`quell source`: credentials for those who send events."""

import re
import secrets
from typing import Annotated

import typer

app = typer.Typer(help="Credentials of the senders in sources.yaml.", no_args_is_help=True)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BYTES = 32


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The sender's name, as in alertmanager-1.")],
    may: Annotated[str, typer.Option(help="What it may send, by comma: alerts, changes, reports.")] = "alerts",
) -> None:
    """Make a token. Standard output is the token alone, shown this once; what goes into sources.yaml is printed beside.

    To rotate a token, add the new hash beside the old one, give the sender the new token, then remove the old hash.
    """
    from quell.gateway.senders import hash_token
    from quell.incidents.errors import InvalidInput
    from quell.incidents.event_source import EventKind

    kinds = [kind.strip() for kind in may.split(",")]
    wrong = [kind for kind in kinds if kind not in list(EventKind)]
    if wrong:
        raise InvalidInput(f'--may names "{wrong[0]}": give some of {", ".join(EventKind)}')
    if not _NAME.fullmatch(name):
        raise InvalidInput(f'source name "{name}" is not allowed: use at most 64 of a-z, 0-9, ".", "_", "-"')
    token = secrets.token_urlsafe(_BYTES)
    typer.echo("# put this into sources.yaml, and the token into a file that only the sender reads:", err=True)
    yaml = f'sources:\n  "{name}":\n    may_send: [{", ".join(kinds)}]\n    tokens: ["{hash_token(token)}"]'
    typer.echo(yaml, err=True)
    typer.echo(token)
