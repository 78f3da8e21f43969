"""`quell people`: what stands in people.yaml about the people who sign in."""

import sys

import typer

from deployments.cli.terminal import err

app = typer.Typer(help="Passwords of the people who sign in.", no_args_is_help=True)


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
