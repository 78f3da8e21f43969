"""What every page is rendered with: the templates, and how times, labels and addresses are written."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from quell.gateway.deps import GatewayDeps
from quell.gateway.postmortem_html import postmortem_html
from quell.gateway.problem_page import title_of
from quell.gateway.safety import SAFE_HEADERS, keep_csrf
from quell.gateway.view import in_words, since
from quell.gateway.visitor import Visitor
from quell.incidents.labels import format_labels
from quell.prevention.weekly.words import (
    aside_in_words,
    before_in_words,
    figure_in_words,
    spread_in_words,
    value_in_words,
)
from quell.response.cost import cost_in_words

HERE = Path(__file__).parent
_TICKS = re.compile(r"`([^`]+)`")


def page_templates(deps: GatewayDeps) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "span": in_words,
        "clock": _clock,
        "day": _day,
        "date": _date,
        "minute": _minute,
        "iso": datetime.isoformat,
        "labels": format_labels,
        "percent": _percent,
        "cost_in_words": cost_in_words,
        "postmortem_html": postmortem_html,
        "web_address": _web_address,
        "ticks": _ticks,
        "diff": _diff,
        "figure_in_words": figure_in_words,
        "aside_in_words": aside_in_words,
        "before_in_words": before_in_words,
        "unit_in_words": value_in_words,
    }
    cast(dict[str, Any], environment.filters)["spread_in_words"] = spread_in_words  # pyright: ignore[reportUnknownMemberType]
    cast(dict[str, Any], environment.filters).update(filters)  # pyright: ignore[reportUnknownMemberType] - no types in jinja2

    def run_url(run: str | None) -> str:
        return _run_url(deps, run)

    functions: dict[str, Callable[..., str]] = {"since": since, "run_url": run_url, "problem_title": title_of}
    cast(dict[str, Any], environment.globals).update(functions)  # pyright: ignore[reportUnknownMemberType]
    cast(dict[str, Any], environment.globals)["has_report_form"] = deps.config.report_limits.is_form_open  # pyright: ignore[reportUnknownMemberType]
    return environment


class Renderer:
    """Answers with a page, safe to show."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._templates = page_templates(deps)

    def show(self, request: Request, visitor: Visitor, template: str, *, status: int = 200, **values: Any) -> Response:
        html = self._templates.get_template(template).render(
            visitor=visitor, now=self._deps.clock(), status=status, **values
        )
        response = HTMLResponse(html, status_code=status, headers=SAFE_HEADERS)
        keep_csrf(request, response, visitor.csrf)
        return response


def _run_url(deps: GatewayDeps, run: str | None) -> str:
    """Where the run can be seen; empty for what is no run of Prefect's ("in process")."""
    is_run = run is not None and len(run) == 36 and " " not in run
    return deps.run_url(run) if run and is_run else ""


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d} UTC"


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _ticks(text: str) -> Markup:
    """What stands between backticks as code; everything else is text."""
    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(text))))


def _diff(text: str) -> Markup:
    """What a diff adds and takes away, marked line by line; its signs stay."""
    return Markup("\n").join(_diff_line(line) for line in text.splitlines())


def _diff_line(line: str) -> Markup:
    if line.startswith(("+++", "---", "@@", "diff ", "index ")):
        return Markup('<span class="about">{}</span>').format(line)
    kind = {"+": "ins", "-": "del"}.get(line[:1])
    return Markup(f"<{kind}>{{}}</{kind}>").format(line) if kind else escape(line)


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _web_address(url: str) -> str:
    """The address if a browser may follow it; what a sender wrote is never a script."""
    return url if url.startswith(("http://", "https://")) else ""
