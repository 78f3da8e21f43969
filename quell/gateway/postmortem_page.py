"""The post-mortem of one incident: its page, its markdown, and the form by which people work on it."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from quell.config.config import Config
from quell.gateway.alert_groups import find_incident
from quell.gateway.deps import GatewayDeps
from quell.gateway.postmortem_html import section_html
from quell.gateway.problems import status_of
from quell.gateway.rendering import Renderer
from quell.gateway.safety import SAFE_HEADERS, check_origin
from quell.gateway.visitor import Door, Visitor
from quell.incidents.errors import NotFound, QuellError
from quell.incidents.guard_record import GUARD, read_guard
from quell.incidents.incident import Incident, IncidentState
from quell.incidents.review import Comment, Review, Section
from quell.ports import Transaction
from quell.prevention.blameless import Blame, find_blame
from quell.prevention.guard_standing import GuardStanding, guard_standing
from quell.prevention.reminder import Duty, duties_of, guard_duty
from quell.prevention.review_act import ReviewDetails
from quell.prevention.sign_off import may_sign, missing_to_close

_ENTRIES_READ = 1000  # the last ones of the timeline
_TRACKERS = {"github": "GitHub", "gitlab": "GitLab", "webhook": "the tracker"}
_ANCHORS = {"edit": "section-", "take-draft": "section-", "assign": "section-", "comment": "section-"}


class ReviewForm(BaseModel):
    csrf: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    action: str = ""
    subject: str = ""
    text: str = ""
    owner: str = ""
    due: str = ""
    version: int = 0

    def details(self) -> ReviewDetails:
        return ReviewDetails(
            subject=self.subject, text=self.text, owner=self.owner.strip(), due=self.due, version=self.version
        )

    @property
    def place(self) -> str:
        """The part of the page that it is about."""
        if self.action in _ANCHORS:
            return f"section-{self.subject}" if self.subject else "comments"
        return "actions" if self.action.endswith("action") or self.action == "export" else "sign-offs"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionView:
    section: Section
    html: str
    comments: tuple[Comment, ...]
    blame: tuple[Blame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostmortemView:
    incident: Incident
    review: Review
    sections: tuple[SectionView, ...]
    comments: tuple[Comment, ...]  # on the whole
    duties: tuple[Duty, ...]
    missing: tuple[str, ...]
    guards: GuardStanding
    version: int

    @property
    def is_open(self) -> bool:
        return self.incident.state is IncidentState.REVIEWED

    @property
    def signed(self) -> int:
        return sum(1 for sign_off in self.review.sign_offs if sign_off.person)

    @property
    def overdue(self) -> dict[str, int]:
        """Team or action item -> by how many days."""
        return {duty.subject: duty.days for duty in self.duties if duty.is_overdue}


def read_postmortem(tx: Transaction, incident_id: str, today: date) -> PostmortemView:
    """Raises NotFound."""
    incident, review = find_incident(tx, incident_id), tx.reviews.get(incident_id)
    if review is None:
        raise NotFound(f"incident {incident_id} has no post-mortem yet: it is written once the incident is resolved")
    guards = _guards(tx, incident_id)
    late = guard_duty(review, guards, today) if incident.state is IncidentState.REVIEWED else None
    return PostmortemView(
        incident=incident,
        review=review,
        sections=tuple(_section(review, section) for section in review.sections),
        comments=tuple(comment for comment in review.comments if not comment.section),
        duties=(*duties_of(review, today), *([late] if late else ())),
        missing=missing_to_close(review, guards),
        guards=guards,
        version=tx.timeline.written(),
    )


def _guards(tx: Transaction, incident_id: str) -> GuardStanding:
    records = (read_guard(document.body) for document in tx.documents.find({"kind": GUARD}))
    fixes = tx.fixes.find({"incident": incident_id})
    return guard_standing(fixes, [record for record in records if record.incident == incident_id])


def _section(review: Review, section: Section) -> SectionView:
    return SectionView(
        section=section,
        html=section_html(section),
        comments=tuple(comment for comment in review.comments if comment.section == section.id),
        blame=() if section.is_record else find_blame(section.text),
    )


def postmortem_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    page = PostmortemPage(deps, door)

    @router.get("/reviews")
    def duties(request: Request, who: str = "") -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.duties(request, who)

    @router.get("/incidents/{incident_id}/postmortem")
    def show(request: Request, incident_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.show(request, incident_id)

    @router.get("/incidents/{incident_id}/postmortem.md")
    def markdown(request: Request, incident_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.markdown(request, incident_id)

    @router.get("/incidents/{incident_id}/postmortem/history")
    def history(request: Request, incident_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.history(request, incident_id)

    @router.post("/incidents/{incident_id}/postmortem")
    def work(request: Request, incident_id: str, form: Annotated[ReviewForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.work(request, incident_id, form)

    return router


class PostmortemPage:
    def __init__(self, deps: GatewayDeps, door: Door) -> None:
        self._deps = deps
        self._door = door
        self._renderer = Renderer(deps)

    def show(
        self, request: Request, id: str, *, refused: str = "", asked: ReviewForm | None = None, status: int = 200
    ) -> Response:
        """`refused` says why the form `asked` was not accepted; what was typed stays in it."""
        visitor, now = self._door.visitor(request), self._deps.clock()
        try:
            with self._deps.store.reading() as tx:
                view = read_postmortem(tx, id, now.date())
        except NotFound as error:
            return self._renderer.show(request, visitor, "problem.html", error=str(error), status=404)
        return self._renderer.show(
            request,
            visitor,
            "postmortem.html",
            status=status,
            view=view,
            incident=view.incident,
            review=view.review,
            refused=refused,
            asked=asked or ReviewForm(),
            place=asked.place if asked and refused else "",
            signs_for=_signs_for(self._deps.config, visitor, view.review),
            owners=_owners(self._deps.config),
            people=sorted(self._deps.config.people),
            tracker=_TRACKERS[tracker.kind] if (tracker := self._deps.config.tracker) else "",
            today=now.date(),
        )

    def duties(self, request: Request, who: str) -> Response:
        """What all post-mortems wait for; `who` is a team or a person."""
        visitor, found = self._door.visitor(request), self._deps.duties()
        return self._renderer.show(
            request,
            visitor,
            "reviews.html",
            duties=[duty for duty in found if not who or duty.who == who],
            who=who,
            everybody=sorted({duty.who for duty in found} | ({who} if who else set())),
        )

    def markdown(self, request: Request, id: str) -> Response:
        visitor = self._door.visitor(request)
        with self._deps.store.reading() as tx:
            review = tx.reviews.get(id)
        if review is None:
            error = f"incident {id[:80]} has no post-mortem: it is written once the incident is resolved"
            return self._renderer.show(request, visitor, "problem.html", error=error, status=404)
        headers = {**SAFE_HEADERS, "Content-Disposition": f'attachment; filename="{review.id}.md"'}
        return Response(review.markdown, media_type="text/markdown; charset=utf-8", headers=headers)

    def history(self, request: Request, id: str) -> Response:
        """What people did to it, the latest first, with the difference that each edit made."""
        visitor = self._door.visitor(request)
        try:
            with self._deps.store.reading() as tx:
                entries = tx.timeline.of(find_incident(tx, id).id, limit=_ENTRIES_READ)
        except NotFound as error:
            return self._renderer.show(request, visitor, "problem.html", error=str(error), status=404)
        told = [entry for entry in reversed(entries) if entry.kind.startswith("review ")]
        return self._renderer.show(request, visitor, "postmortem_history.html", id=id, entries=told)

    def work(self, request: Request, id: str, form: ReviewForm) -> Response:
        person, is_signed_in = self._door.actor(request, form.person)
        try:
            check_origin(request, form.csrf)
            self._deps.review(
                action=form.action,
                incident=id,
                person=person,
                code=form.code.get_secret_value().strip(),
                is_signed_in=is_signed_in,
                details=form.details(),
            )
        except QuellError as error:
            return self.show(request, id, refused=str(error), asked=form, status=status_of(error))
        return RedirectResponse(f"/incidents/{id}/postmortem#{form.place}", status_code=303)


def _signs_for(config: Config, visitor: Visitor, review: Review) -> frozenset[str]:
    """The teams for which the visitor may sign; where nobody can sign in, the form finds out."""
    teams = [sign_off.team for sign_off in review.sign_offs]
    if visitor.person is None:
        return frozenset(teams if visitor.asks_name else ())
    return frozenset(team for team in teams if may_sign(visitor.person, team, config.people))


def _owners(config: Config) -> list[str]:
    teams = {service.team for service in config.catalog.services.values()}
    return sorted(teams | {person.team for person in config.people.values()} | set(config.people))
