"""One incident: its page, its alerts and entries a page at a time, and the forms by which people decide and act."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from quell.gateway.alert_groups import GROUPS_SHOWN, find_incident, read_alerts, read_group
from quell.gateway.deps import GatewayDeps
from quell.gateway.main_chart import MainChart
from quell.gateway.problems import status_of
from quell.gateway.question_chart import QuestionChart
from quell.gateway.rendering import Renderer
from quell.gateway.safety import check_origin
from quell.gateway.view import ENTRIES_SHOWN, IncidentView, read_incident
from quell.gateway.visitor import Door
from quell.incidents.chart import CHART_STYLE
from quell.incidents.errors import NotFound, QuellError
from quell.incidents.incident import INCIDENT_TRANSITIONS, IncidentState
from quell.response.false_isolation import cost_so_far
from quell.response.rights import ActDetails

LAST_NUMBER = 2**63 - 1  # that a database can count to
AT_FORM = frozenset({"dismiss", "merge", "split"})  # whose form says itself why it was refused


class DecideForm(BaseModel):
    csrf: str = ""
    subject: str = ""
    plan_hash: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    answer: str = ""
    comment: str = ""


class ActForm(BaseModel):
    csrf: str = ""
    action: str = ""
    subject: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    why: str = ""
    other: str = ""
    stays: str = ""  # which of the two a merge keeps
    alerts: list[str] = []
    groups: list[str] = []  # as `group_key` writes them

    def details(self) -> ActDetails:
        return ActDetails(other=self.other, alerts=tuple(self.alerts), groups=tuple(map(read_group, self.groups)))


def incident_page_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    page = IncidentPage(deps, door)

    @router.get("/incidents/{incident_id}")
    def incident(request: Request, incident_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.show(request, incident_id)

    @router.get("/incidents/{incident_id}/alerts")
    def alerts(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        incident_id: str,
        service: str | None = None,
        name: str | None = None,
        q: str = "",
        after: str = "",
    ) -> Response:
        return page.alerts(request, incident_id, service=service, name=name, q=q, after=after)

    @router.get("/incidents/{incident_id}/timeline")
    def timeline(  # pyright: ignore[reportUnusedFunction]
        request: Request, incident_id: str, below: Annotated[int, Query(ge=0, le=LAST_NUMBER)]
    ) -> Response:
        return page.timeline(request, incident_id, below)

    @router.post("/incidents/{incident_id}/decide")
    def decide(  # pyright: ignore[reportUnusedFunction]
        request: Request, incident_id: str, form: Annotated[DecideForm, Form()]
    ) -> Response:
        return page.decide(request, incident_id, form)

    @router.post("/incidents/{incident_id}/act")
    def act(request: Request, incident_id: str, form: Annotated[ActForm, Form()]) -> Response:  # pyright: ignore[reportUnusedFunction]
        return page.act(request, incident_id, form)

    return router


class IncidentPage:
    def __init__(self, deps: GatewayDeps, door: Door) -> None:
        self._deps = deps
        self._door = door
        self._renderer = Renderer(deps)
        self._charts = MainChart(deps.series_for)
        self._question_charts = QuestionChart(deps.users_signal)

    def show(
        self,
        request: Request,
        id: str,
        *,
        refused: tuple[str, str] | None = None,
        asked: ActForm | None = None,
        status: int = 200,
    ) -> Response:
        """`refused`: the subject or the action whose form was refused, and why; `asked` is what stood in it."""
        visitor = self._door.visitor(request)
        try:
            view = read_incident(self._deps.store, id, self._deps.config)
        except NotFound as error:
            return self._renderer.show(request, visitor, "problem.html", error=str(error), status=404)
        self._question_charts.ask(view, self._deps.clock())
        chart, chart_problem = self._charts.draw(view, self._deps.clock())
        return self._renderer.show(
            request,
            visitor,
            "incident.html",
            status=status,
            view=view,
            incident=view.incident,
            groups=view.alerts.groups[:GROUPS_SHOWN],
            chart=_without_style(chart),
            question_charts={id: _without_style(svg) for id, svg in self._question_charts.draw(view).items()},
            chart_problem=chart_problem,
            refused=refused,
            asked=asked or ActForm(),
            approvers=self._approvers(view),
            most_refused={name: book.limits.most_refused for name, book in self._deps.config.playbooks.items()},
            costs={m.mitigation.id: cost_so_far(m.mitigation, self._deps.clock()) for m in view.mitigations},
            people=sorted(self._deps.config.people),
            may_split=visitor.may_act and view.incident.is_active and view.alerts.total > 1,
            may_dismiss=IncidentState.DISMISSED in INCIDENT_TRANSITIONS[view.incident.state],
        )

    def alerts(self, request: Request, id: str, **asked: Any) -> Response:
        visitor = self._door.visitor(request)
        try:
            found = read_alerts(self._deps.store, id, **asked)
        except NotFound as error:
            return self._renderer.show(request, visitor, "problem.html", error=str(error), status=404)
        with self._deps.store.reading() as tx:
            incident = tx.incidents.get(id)
        return self._renderer.show(
            request,
            visitor,
            "alerts.html",
            id=id,
            page=found,
            asked=asked,
            may_split=visitor.may_act and incident is not None and incident.is_active,
            people=sorted(self._deps.config.people),
        )

    def timeline(self, request: Request, id: str, below: int) -> Response:
        visitor = self._door.visitor(request)
        try:
            with self._deps.store.reading() as tx:
                entries = tx.timeline.of(find_incident(tx, id).id, below=below, limit=ENTRIES_SHOWN)
        except NotFound as error:
            return self._renderer.show(request, visitor, "problem.html", error=str(error), status=404)
        return self._renderer.show(request, visitor, "timeline.html", id=id, entries=entries)

    def decide(self, request: Request, id: str, form: DecideForm) -> Response:
        person, _ = self._door.actor(request, form.person)
        try:
            check_origin(request, form.csrf)
            self._deps.decide(
                subject=form.subject,
                plan_hash=form.plan_hash,
                person=person,
                code=form.code.get_secret_value().strip(),
                answer=form.answer,
                comment=form.comment.strip(),
                channel="page",
            )
        except QuellError as error:
            return self.show(request, id, refused=(form.subject, str(error)), status=status_of(error))
        return RedirectResponse(f"/incidents/{id}#{form.subject}", status_code=303)

    def act(self, request: Request, id: str, form: ActForm) -> Response:
        person, is_signed_in = self._door.actor(request, form.person)
        form = _as_merged(id, form)
        try:
            check_origin(request, form.csrf)
            self._deps.act(
                action=form.action,
                subject=form.subject,
                person=person,
                code=form.code.get_secret_value().strip(),
                why=form.why,
                is_signed_in=is_signed_in,
                details=form.details(),
            )
        except QuellError as error:
            said_at = form.action if form.action in AT_FORM else form.subject
            return self.show(request, id, refused=(said_at, str(error)), asked=form, status=status_of(error))
        return RedirectResponse(f"/incidents/{form.subject if form.action == 'merge' else id}", status_code=303)

    def _approvers(self, view: IncidentView) -> dict[str, tuple[str, ...]]:
        """Which roles may decide on each mitigation."""
        found = {m.mitigation.id: self._deps.config.playbooks.get(m.mitigation.playbook) for m in view.mitigations}
        return {id: playbook.approval.roles if playbook else ("approver",) for id, playbook in found.items()}


def _without_style(chart: str) -> str:
    """Its style is a file: the page allows none of its own."""
    return chart.replace(f"<style>{CHART_STYLE}</style>", "")


def _as_merged(id: str, form: ActForm) -> ActForm:
    """A merge's subject is the incident that stays; on the page of either a person may choose which."""
    if form.action != "merge":
        return form
    stays, goes = (form.other, id) if form.stays == "other" else (id, form.other)
    return form.model_copy(update={"subject": stays, "other": goes})
