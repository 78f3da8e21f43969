"""Artifacts: what a person reads about a run in the Prefect UI."""

import re
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext, TaskRunContext

from quell.config.config import Config
from quell.incidents.incident import Incident
from tasks.runs import log


def artifact_key(text: str) -> str:
    """A key that Prefect accepts: lower case, digits and dashes.

    >>> artifact_key("mitigate INC-42 isolate checkout_2")
    'mitigate-inc-42-isolate-checkout-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish(key: str, markdown: str, description: str = "") -> None:
    """Leave a markdown artifact on the current run, and say so in its log. Outside a run nothing happens.

    A server that cannot take the artifact must not fail the work it describes: the failure is logged.
    """
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return
    name = artifact_key(key)
    try:
        create_markdown_artifact(markdown=markdown, key=name, description=description or None)
    except Exception as error:  # noqa: BLE001 - whatever the server says, the incident goes on
        log().warning("artifact %s could not be stored: %s", name, error)
    else:
        log().info("artifact %s: see the Artifacts tab of this run", name)


def incident_link(config: Config, incident: Incident | str | None) -> str:
    """The incident as a link to its page, with its title where that is known; empty without an incident."""
    if incident is None:
        return ""
    id, title = (incident, "") if isinstance(incident, str) else (incident.id, incident.title)
    words = f"{id}: {title}" if title else id
    return f"[{words.replace('[', '(').replace(']', ')').replace('<', '&lt;')}]({config.gateway_url}/incidents/{id})"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table; pipes and line breaks in cells are escaped, an empty table says so.

    >>> print(table(["rule", "value"], [["floor", 0.5]]))
    | rule | value |
    |---|---|
    | floor | 0.5 |
    """
    if not rows:
        return "_nothing_"
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")
