"""Issue trackers: an action item as an issue of GitHub or GitLab, or as a webhook's message, made once.

Neither GitHub nor GitLab knows idempotency keys. Each issue's body therefore ends with a marker that no reader sees,
and whoever makes one looks first whether it is there: among the issues made since the export was asked for, in the
order of their creation. That is the list, not the search: the search's index is minutes behind.
Source: docs.github.com/rest/issues/issues; docs.gitlab.com/api/issues.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote, urlsplit

import httpx

from quell.config.config import Tracker
from quell.config.value import is_reference, read_reference
from quell.incidents.errors import InvalidInput, QuellError, Unavailable

_SKEW = timedelta(minutes=10)  # between our clock and the tracker's
_PAGE, _MOST_PAGES = 100, 20
_LATER = frozenset({408, 425, 429})
_LOCAL = ("localhost", "127.0.0.1", "::1")
_LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """What shall become an issue; `key` tells it from all others, of other installations too."""

    key: str
    title: str
    body: str
    due: date
    wanted_at: datetime
    project: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])  # for webhooks

    @property
    def marker(self) -> str:
        return f"<!-- quell-action: {self.key} -->"


def export_issue(tracker: Tracker, issue: Issue) -> str:
    """The address of the issue, made now or found; empty where a webhook gives none.

    Raises Unavailable (try later) or InvalidInput (the tracker refuses; its words say why).
    """
    with _client(tracker) as client:
        if tracker.kind == "webhook":
            return _post_webhook(client, tracker, issue)
        shape = _SHAPES[tracker.kind]
        return _find(client, tracker, issue, shape) or _make(client, tracker, issue, shape)


def look_at(tracker: Tracker, project: str) -> None:
    """Ask for one issue of the project, to see whether address, project and token are right. Raises as above."""
    with _client(tracker) as client:
        _send(client, tracker, "GET", _path(tracker, project), params={"per_page": "1", "page": "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How one tracker calls things."""

    body: str
    url: str
    listing: Mapping[str, str]


_GITHUB = _Shape(body="body", url="html_url", listing={"state": "all", "sort": "created", "direction": "desc"})
_GITLAB = _Shape(body="description", url="web_url", listing={"scope": "all", "order_by": "created_at", "sort": "desc"})


_SHAPES = {"github": _GITHUB, "gitlab": _GITLAB}


def _find(client: httpx.Client, tracker: Tracker, issue: Issue, shape: _Shape) -> str:
    """The issue that an earlier attempt made, of which we never heard; empty where there is none."""
    for found in _issues(client, tracker, issue, shape):
        if issue.marker in str(found.get(shape.body) or ""):
            return _address(found.get(shape.url))
    return ""


def _issues(client: httpx.Client, tracker: Tracker, issue: Issue, shape: _Shape) -> Iterator[Mapping[str, Any]]:
    """All issues made since the export was asked for, the newest first."""
    since = issue.wanted_at - _SKEW
    name = "since" if tracker.kind == "github" else "created_after"
    for page in range(1, _MOST_PAGES + 1):
        asked = {**shape.listing, name: f"{since:%Y-%m-%dT%H:%M:%SZ}", "per_page": str(_PAGE), "page": str(page)}
        answer = _send(client, tracker, "GET", _path(tracker, issue.project), params=asked)
        if not isinstance(answer, list):
            raise Unavailable(f"{tracker.kind} answers with no list of issues: is {tracker.url} its API?")
        found = cast(list[Mapping[str, Any]], answer)
        yield from found
        if len(found) < _PAGE or _made_at(found[-1]) < since:
            return
    raise Unavailable(
        f"{tracker.kind} has more than {_MOST_PAGES * _PAGE} issues made since {since:%Y-%m-%d %H:%M}: whether this one"
        " is among them cannot be told; make it by hand"
    )


def _made_at(found: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(found["created_at"]))
    except (KeyError, ValueError) as error:
        raise Unavailable("an issue of the tracker's list does not say when it was made") from error


def _make(client: httpx.Client, tracker: Tracker, issue: Issue, shape: _Shape) -> str:
    content: dict[str, object] = {"title": _title(issue.title), shape.body: f"{issue.body}\n\n{issue.marker}\n"}
    if tracker.kind == "github":
        content["labels"] = list(tracker.labels)
    else:
        content |= {"labels": ",".join(tracker.labels), "due_date": issue.due.isoformat()}
    answer = _send(client, tracker, "POST", _path(tracker, issue.project), json=content)
    return _address(cast(Mapping[str, Any], answer).get(shape.url) if isinstance(answer, dict) else "")


def _post_webhook(client: httpx.Client, tracker: Tracker, issue: Issue) -> str:
    """A receiver knows a message that it has by its key: it may come again after a death in between."""
    content = {
        "kind": "action_item",
        "idempotency_key": issue.key,
        "title": _title(issue.title),
        "body": issue.body,
        "due": issue.due.isoformat(),
        **issue.facts,
    }
    answer = _send(client, tracker, "POST", "", json=content, headers={"Idempotency-Key": issue.key})
    return _address(cast(Mapping[str, Any], answer).get("url") if isinstance(answer, dict) else "")


def _client(tracker: Tracker) -> httpx.Client:
    url = (read_reference(tracker.url) if is_reference(tracker.url) else tracker.url).rstrip("/")
    token = read_reference(tracker.token) if tracker.token else ""
    headers = {"User-Agent": "quell", "Accept": "application/json"}
    if tracker.kind == "github":
        headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers |= {"PRIVATE-TOKEN": token} if tracker.kind == "gitlab" else {"Authorization": f"Bearer {token}"}
    return httpx.Client(
        base_url=url,
        headers=headers,
        timeout=tracker.timeout.total_seconds(),
        trust_env=urlsplit(url).hostname not in _LOCAL,  # no proxy to ourselves
    )


def _path(tracker: Tracker, project: str) -> str:
    if tracker.kind == "github":
        return f"/repos/{quote(project, safe='/')}/issues"
    return f"/projects/{quote(project, safe='')}/issues"


def _send(client: httpx.Client, tracker: Tracker, method: str, path: str, **asked: Any) -> object:
    """The answer's JSON. Redirects are not followed: a token is for the address that was written down."""
    try:
        answer = client.request(method, path, **asked)
    except httpx.TimeoutException as error:
        raise Unavailable(f"{tracker.kind} did not answer within {tracker.timeout.total_seconds():g} s") from error
    except httpx.InvalidURL as error:  # its text may repeat the address, which may be a secret
        raise InvalidInput(f"{tracker.kind}: what stands at url is no address") from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{tracker.kind} cannot be reached: {type(error).__name__}: {error}") from error
    if answer.is_success:
        return _json(answer, tracker)
    raise _refusal(answer, tracker, f"{method} {path}".strip())


def _refusal(answer: httpx.Response, tracker: Tracker, what: str) -> QuellError:
    said = f"{tracker.kind} answers {answer.status_code} to {what}: {' '.join(answer.text.split())[:200] or 'nothing'}"
    is_limited = answer.status_code == 403 and (
        "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
    )
    if answer.status_code >= 500 or answer.status_code in _LATER or is_limited:
        return Unavailable(said)
    if answer.is_redirect:
        said += "; it has moved: write its new address or project into quell.toml"
    return InvalidInput(said)


def _json(answer: httpx.Response, tracker: Tracker) -> object:
    if tracker.kind == "webhook" and "json" not in answer.headers.get("content-type", ""):
        return {}
    try:
        return answer.json()
    except ValueError as error:
        raise Unavailable(f"{tracker.kind} answers {answer.status_code} with what is no JSON") from error


def _address(url: object) -> str:
    """Only what a browser may follow."""
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else ""


def _title(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "…"
