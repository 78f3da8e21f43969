"""`quell document SERVICE`: the service's deployment document and log, as a branch to review."""

from typing import Annotated

import typer

from deployments.cli.record import DEFAULT_FOLDER, ConfigOption, opened
from deployments.cli.terminal import out


def document(
    service: Annotated[str, typer.Argument(help="The service, as services.yaml names it.")],
    write: Annotated[bool, typer.Option("--write", help="Commit both to a branch of its repository.")] = False,
    config: ConfigOption = DEFAULT_FOLDER,
) -> None:
    """Show what is known of deploying a service: failure modes, checks, rollback. --write: as a branch to review."""
    from quell.incidents.errors import NotFound
    from quell.resolution.deployment_document import render_document
    from tasks.deployment_document import gather_deployments, propose_documents

    with opened(config) as res:
        known = res.config.catalog.service(service)
        if known is None:
            raise NotFound(f"service {service} is not in services.yaml")
        if not write:
            shown = render_document(gather_deployments(res, known))
            out().print(shown, markup=False, highlight=False, soft_wrap=True)
            return
        proposed = propose_documents(res, service)
    if not proposed.diff:
        out().print(f"the documents of {service} are up to date", markup=False)
        return
    out().print(proposed.diff, markup=False, highlight=False, soft_wrap=True)
    out().print(f"branch {proposed.branch} waits for review", markup=False)
