"""`quell people`: what stands in people.yaml about the people who sign in."""

import sys
from typing import Annotated

import typer

from deployments.cli.terminal import err

app = typer.Typer(help="Passwords and one-time codes of the people in people.yaml.", no_args_is_help=True)


@app.command("hash")
def hash_command() -> None:
    """Print the hash of a password for `password_hash` in people.yaml.

    The password is asked for, or read from standard input; it is never an argument, where other users could see it.
    """
    from quell.adapters.password import hash_password

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    hashed = hash_password(password)
    err().print("put this into people.yaml, in quotes:", style="dim")
    print(hashed)


@app.command("secret")
def secret_command(
    name: Annotated[str, typer.Argument(help="The person's name in people.yaml, as in alice.")],
) -> None:
    """Make a secret for one-time codes. Standard output is the secret alone, shown this once.

    Beside it stands the address for the person's authenticator app, and what goes into people.yaml.
    """
    from quell.adapters.identity import new_secret

    secret, address = new_secret(name)
    typer.echo(f"# the person gives this address to an authenticator app, as a link or a QR code:\n{address}", err=True)
    typer.echo("# keep the secret in a file that only Quell reads, and name that file in people.yaml:", err=True)
    typer.echo(f"totp_secret: file:secrets/{name}.totp", err=True)
    typer.echo(secret)
