"""Silences: which are in force, to come or lately over, and the form by which people mute alerts from a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from quell.gateway.alert_groups import read_group
from quell.gateway.deps import GatewayDeps
from quell.gateway.problems import status_of
from quell.gateway.rendering import Renderer
from quell.gateway.safety import check_origin
from quell.gateway.visitor import Door
from quell.incidents.errors import InvalidInput, QuellError
from quell.incidents.labels import ALERTNAME, SERVICE, Labels
from quell.incidents.matcher import MatchOperator, make_matcher
from quell.incidents.silence import Silence, SilenceState
from quell.ports import Store, Transaction
from quell.response.rights import ActDetails
from quell.triage.muting import silence_hold

LATELY = timedelta(days=7)
SHOWN = 200  # of each: in force or to come, and over
HELD_COUNTED_UP_TO = 1000
DURATIONS: Mapping[str, str] = {
    "30m": "30 minutes",
    "1h": "1 hour",
    "2h": "2 hours",
    "4h": "4 hours",
    "8h": "8 hours",
    "1d": "1 day",
    "3d": "3 days",
    "1w": "1 week",
}


class SilenceForm(BaseModel):
    csrf: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    matchers: str = ""
    lasting: str = "1h"
    why: str = ""
    back: str = ""  # the incident from which somebody came

    @property
    def from_incident(self) -> str:
        """Only an id leads back: nobody is sent elsewhere."""
        return self.back if self.back.replace("-", "").isalnum() and self.back.isascii() else ""


class ExpireForm(BaseModel):
    csrf: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRow:
    silence: Silence
    state: SilenceState
    held: int  # alerts that it holds back


def silence_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    pages = SilencePages(deps, door)

    @router.get("/silences")
    def silences(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.list(request)

    @router.get("/silences/new")
    def new(request: Request, alert: str = "", group: str = "", back: str = "") -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.new(request, alert, group, back)

    @router.post("/silences/new")
    def add(request: Request, form: Annotated[SilenceForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.add(request, form)

    @router.post("/silences/expire")
    def expire(request: Request, form: Annotated[ExpireForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.expire(request, form)

    return router


class SilencePages:
    def __init__(self, deps: GatewayDeps, door: Door) -> None:
        self._deps = deps
        self._door = door
        self._renderer = Renderer(deps)

    def list(self, request: Request, *, refused: tuple[str, str] | None = None, status: int = 200) -> Response:
        now = self._deps.clock()
        with self._deps.store.reading() as tx:
            version = tx.timeline.written()
            rows = read_silences(tx, now)
        return self._renderer.show(
            request,
            self._door.visitor(request),
            "silences.html",
            status=status,
            parts=[(state, [row for row in rows if row.state is state]) for state in _ORDER],
            refused=refused,
            version=version,
            people=sorted(self._deps.config.people),
        )

    def new(self, request: Request, alert: str, group: str, back: str) -> Response:
        try:
            matchers = prefill(_labels(self._deps.store, alert, group))
        except QuellError as error:
            return self._form(request, SilenceForm(back=back), problem=str(error), status=status_of(error))
        return self._form(request, SilenceForm(matchers=matchers, back=back))

    def add(self, request: Request, form: SilenceForm) -> Response:
        person, is_signed_in = self._door.actor(request, form.person)
        try:
            check_origin(request, form.csrf)
            made = self._deps.act(
                action="silence",
                subject="",
                person=person,
                code=form.code.get_secret_value().strip(),
                why=form.why,
                is_signed_in=is_signed_in,
                details=ActDetails(matchers=" ".join(form.matchers.split("\n")).strip(), lasting=form.lasting),
            )
        except QuellError as error:
            return self._form(request, form, problem=str(error), status=status_of(error))
        return RedirectResponse(f"/silences#{made}", status_code=303)

    def expire(self, request: Request, form: ExpireForm) -> Response:
        person, is_signed_in = self._door.actor(request, form.person)
        try:
            check_origin(request, form.csrf)
            self._deps.act(
                action="expire",
                subject=form.subject,
                person=person,
                code=form.code.get_secret_value().strip(),
                why="",
                is_signed_in=is_signed_in,
            )
        except QuellError as error:
            return self.list(request, refused=(form.subject, str(error)), status=status_of(error))
        return RedirectResponse("/silences", status_code=303)

    def _form(self, request: Request, form: SilenceForm, *, problem: str = "", status: int = 200) -> Response:
        return self._renderer.show(
            request,
            self._door.visitor(request),
            "silence_form.html",
            status=status,
            form=form,
            problem=problem,
            durations=DURATIONS,
            people=sorted(self._deps.config.people),
        )


_ORDER = (SilenceState.ACTIVE, SilenceState.PENDING, SilenceState.EXPIRED)


def read_silences(tx: Transaction, now: datetime) -> tuple[SilenceRow, ...]:
    """What is in force or to come, the next to end first; then what ended lately, the last to end first."""
    alive = tx.silences.find(after=("ends_at", now), order="ends_at", limit=SHOWN)
    over = tx.silences.find(
        after=("ends_at", now - LATELY), before=("ends_at", now), order="ends_at", descending=True, limit=SHOWN
    )
    found = {silence.id: silence for silence in (*alive, *over)}  # an end right now is in both
    return tuple(
        SilenceRow(
            silence=silence,
            state=silence.state(now),
            held=tx.alerts.count({"held_by": silence_hold(silence.id)}, at_most=HELD_COUNTED_UP_TO),
        )
        for silence in found.values()
    )


def prefill(labels: Labels) -> str:
    """A matcher a line for each label that matchers can name.

    >>> prefill({"alertname": "Errors", "service": "checkout", "a.b": "no label name"})
    'alertname="Errors",\\nservice="checkout"'
    """
    written: list[str] = []
    for name, value in sorted(labels.items()):
        try:
            written.append(str(make_matcher(name, MatchOperator.EQUAL, value)))
        except InvalidInput:
            continue
    return ",\n".join(written)


def _labels(store: Store, alert: str, group: str) -> Labels:
    """The labels from which somebody starts: all of an alert's, or name and service of a group."""
    if group:
        service, name = read_group(group)
        return {ALERTNAME: name, **({SERVICE: service} if service else {})}
    if not alert:
        return {}
    with store.reading() as tx:
        found = tx.alerts.get(alert)
    return {} if found is None else found.labels
