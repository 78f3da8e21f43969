"""The form by which users say that something is wrong. It is open to everybody, also where reading needs signing in."""

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ValidationError

from quell.gateway.deps import GatewayDeps
from quell.gateway.door import Desk
from quell.gateway.inbox_items import ReportIn, take_report
from quell.gateway.problems import headers_of, status_of
from quell.gateway.rate_limit import RateLimit
from quell.gateway.rendering import Renderer
from quell.gateway.safety import check_origin, csrf_token
from quell.gateway.visitor import Door, Visitor
from quell.incidents.errors import InvalidInput, NotFound, QuellError, Unavailable

LONGEST_TEXT = 4000
_SOURCE = "form"
_THANKS = "/report/thanks"
_OWN_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_LONGEST = {"text": LONGEST_TEXT, "reporter": 200, "contact": 254}
_NAMES = {"text": "The description", "reporter": "The name", "contact": "The e-mail address"}


class ReportForm(BaseModel):
    """What was typed. `website` is seen and filled in by programs only; `id` makes sending twice harmless."""

    csrf: str = ""
    id: str = ""
    text: str = ""
    service: str = ""
    reporter: str = ""
    contact: str = ""
    consent: bool = False
    website: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    deps: GatewayDeps
    door: Door
    renderer: Renderer

    async def show(self, request: Request, form: ReportForm, **said: Any) -> Response:
        values = dict[str, Any](errors={}, problem="", services=self.services(), longest=LONGEST_TEXT) | said
        id = form.id if _OWN_ID.fullmatch(form.id) else secrets.token_urlsafe(18)
        visitor = await asyncio.to_thread(self.visitor, request)
        return self.renderer.show(request, visitor, "report.html", form=form, id=id, **values)

    def visitor(self, request: Request) -> Visitor:
        """The form is shown even when the store, which knows who has signed in, is away."""
        try:
            return self.door.visitor(request)
        except Unavailable:
            return Visitor(person=None, asks_name=not self.deps.config.has_passwords, csrf=csrf_token(request))

    def services(self) -> list[str]:
        return sorted(name for name, each in self.deps.config.catalog.services.items() if each.is_user_facing)


def report_routes(deps: GatewayDeps, door: Door, desk: Desk) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    limits = deps.config.report_limits
    rate = RateLimit(limits.per_address, limits.overall)  # its own, so that a flood here shuts out no other source
    page = _Page(deps=deps, door=door, renderer=Renderer(deps))

    def check_open() -> None:
        if not limits.is_form_open:
            raise NotFound("the form for reports is closed (sources.yaml, reports.form): tell the people on call")

    async def store(form: ReportForm, address: str) -> None:
        sender = await asyncio.to_thread(desk.mark.of, address)
        item = take_report(_said(form) | {"sender": sender}, source=_SOURCE, received_at=deps.clock())
        await desk.commit.submit([item], events=1, size=len(form.text))
        desk.measures.events.labels("report", "taken").inc()

    @router.get("/report")
    async def ask(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        check_open()
        return await page.show(request, ReportForm())

    @router.post("/report")
    async def take(request: Request, form: Annotated[ReportForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        check_open()
        address = request.client.host if request.client else ""
        try:
            check_origin(request, form.csrf)
            if form.website:
                return RedirectResponse(_THANKS, status_code=303)
            if errors := _errors(form, page.services()):
                return await page.show(request, form, errors=errors, status=422)
            rate.check(address)
            await store(form, address)
        except QuellError as error:
            response = await page.show(request, form, problem=str(error), status=status_of(error))
            response.raw_headers.extend(headers_of(error))
            return response
        return RedirectResponse(_THANKS, status_code=303)

    @router.get(_THANKS)
    async def thanks(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        visitor = await asyncio.to_thread(page.visitor, request)
        return page.renderer.show(request, visitor, "report_thanks.html")

    return router


def _said(form: ReportForm) -> dict[str, Any]:
    """The report as the API would take it."""
    said: dict[str, Any] = {"text": form.text.strip().replace("\r\n", "\n")}
    if _OWN_ID.fullmatch(form.id):
        said["id"] = f"form-{form.id}"
    said |= {name: text for name in ("service", "reporter", "contact") if (text := getattr(form, name).strip())}
    return said | {"consent": True} if "contact" in said else said


def _errors(form: ReportForm, services: list[str]) -> dict[str, str]:
    """What is wrong, by field, in the words of whoever fills it in."""
    said, errors = _said(form), dict[str, str]()
    if not said["text"]:
        errors["text"] = "Say what is wrong."
    for name, longest in _LONGEST.items():
        if (length := len(said.get(name, ""))) > longest:
            errors[name] = f"{_NAMES[name]} has {length} characters; the limit is {longest}: make it shorter."
    if form.service and form.service not in services:
        errors["service"] = "Choose a service of the list, or that you do not know."
    if "contact" in said and "contact" not in errors:
        errors |= _contact_errors(said["contact"], has_consent=form.consent)
    return errors or _unreadable(said)


def _contact_errors(contact: str, *, has_consent: bool) -> dict[str, str]:
    if not _ADDRESS.fullmatch(contact) or not contact.isprintable():
        return {"contact": "Write an e-mail address like name@example.org, or leave it empty."}
    if not has_consent:
        return {"consent": "Tick the box so that we may keep your e-mail address, or remove the address."}
    return {}


def _unreadable(said: dict[str, Any]) -> dict[str, str]:
    """What only the intake finds, such as a NUL in the text."""
    try:
        ReportIn.model_validate(said)
        if any("\x00" in str(value) for value in said.values()):
            raise InvalidInput("a NUL")
    except (ValidationError, InvalidInput):
        return {"text": "The report holds characters that cannot be kept: type it again."}
    return {}
