"""What a person in front of a browser is told when something went wrong: a page with a way on, never bare JSON."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response
from jinja2 import Environment

from quell.gateway.safety import SAFE_HEADERS

TITLES = {
    400: "This could not be read",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "It has moved on",
    413: "Too large",
    415: "This could not be read",
    422: "This does not fit",
    429: "Too many at once",
    503: "Not just now",
}
FAILED = "Something failed"


class ProblemPage:
    """Shows a problem to browsers. It asks the store nothing, so it can be shown when the store is gone."""

    def __init__(self, templates: Environment) -> None:
        self._template = templates.get_template("problem.html")

    def is_wanted(self, request: Request) -> bool:
        """A browser that opens an address or sends a form says so; programs, scripts and pictures do not."""
        is_api = request.url.path.startswith("/api/")
        return not is_api and "text/html" in request.headers.get("accept", "")

    def show(self, text: str, status: int, headers: Mapping[str, str]) -> Response:
        html = self._template.render(error=text, status=status)
        return Response(html, status_code=status, media_type="text/html", headers={**SAFE_HEADERS, **headers})


def title_of(status: int) -> str:
    return TITLES.get(status, FAILED)
