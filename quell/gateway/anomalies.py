"""The anomaly pages: what waits for a person's word, with picture and explanation, and one click to give it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, SecretStr

from quell.gateway.deps import ChartData, GatewayDeps
from quell.gateway.problems import status_of
from quell.gateway.rendering import Renderer
from quell.gateway.safety import PICTURE_HEADERS, check_origin, set_cookie
from quell.gateway.visitor import Door
from quell.incidents.anomaly import Anomaly, AnomalyLabel
from quell.incidents.chart import signal_chart
from quell.incidents.errors import QuellError
from quell.ports import Store

PERSON_COOKIE = "quell_person"  # whom the last label came from, so that the next one is a single click
REMEMBERED_SECONDS = 90 * 86_400
SHOWN = 25
EARLIER_SHOWN = 3
SVG = "image/svg+xml"
# A page shows many charts; slow metrics must not take every thread that people and senders need.
CHARTS_AT_ONCE = 4
WAIT_FOR_A_TURN = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyView:
    """An anomaly with what people said of the same series before, the newest first."""

    anomaly: Anomaly
    earlier: tuple[Anomaly, ...]

    @property
    def usual_why(self) -> str:
        """What made the series' last expected anomaly expected: offered as one click."""
        return next((a.why for a in self.earlier if a.label is AnomalyLabel.EXPECTED), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyList:
    views: tuple[AnomalyView, ...]
    waiting: int
    labelled: int


def read_anomalies(store: Store, *, labelled: bool) -> AnomalyList:
    """What waits, or what has a label; the newest first."""
    with store.reading() as tx:
        where: dict[str, object] = {"label": tuple(AnomalyLabel) if labelled else None}
        order = "labelled_at" if labelled else "last_at"
        found = tx.anomalies.find(where, order=order, descending=True, limit=SHOWN)
        said = tx.anomalies.find(
            {"series": tuple({a.series for a in found}), "label": tuple(AnomalyLabel)},
            order="labelled_at",
            descending=True,
        )
        return AnomalyList(
            views=tuple(_view(anomaly, said) for anomaly in found),
            waiting=tx.anomalies.count({"label": None}),
            labelled=tx.anomalies.count({"label": tuple(AnomalyLabel)}),
        )


def read_anomaly(store: Store, id: str) -> AnomalyView | None:
    with store.reading() as tx:
        anomaly = tx.anomalies.get(id)
        if anomaly is None:
            return None
        where = {"series": anomaly.series, "label": tuple(AnomalyLabel)}
        return _view(anomaly, tx.anomalies.find(where, order="labelled_at", descending=True))


def _view(anomaly: Anomaly, said: list[Anomaly]) -> AnomalyView:
    earlier = [a for a in said if a.series == anomaly.series and a.started_at < anomaly.started_at]
    return AnomalyView(anomaly=anomaly, earlier=tuple(earlier[:EARLIER_SHOWN]))


def anomaly_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    pages = _Pages(deps, door)

    @router.get("/anomalies")
    def waiting(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.show(request, read_anomalies(deps.store, labelled=False), "waiting")

    @router.get("/anomalies/labelled")
    def labelled(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.show(request, read_anomalies(deps.store, labelled=True), "labelled")

    @router.get("/anomalies/{anomaly_id}")
    def anomaly(request: Request, anomaly_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.one(request, anomaly_id)

    @router.get("/anomalies/{anomaly_id}/chart.svg")
    def chart(anomaly_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.chart(anomaly_id)

    @router.post("/anomalies/{anomaly_id}/label")
    def label(  # pyright: ignore[reportUnusedFunction]
        request: Request, anomaly_id: str, form: Annotated[LabelForm, Form()]
    ) -> Response:
        return pages.label(request, anomaly_id, form)

    return router


class LabelForm(BaseModel):
    """What a card's form sends; `usual` is the why that the last button repeats."""

    csrf: str = ""
    label: str = ""
    person: str = ""
    code: SecretStr = SecretStr("")
    why: str = ""
    usual: str = ""
    back: str = ""


class _Pages:
    def __init__(self, deps: GatewayDeps, door: Door) -> None:
        self._deps = deps
        self._door = door
        self._renderer = Renderer(deps)
        self._turns = BoundedSemaphore(CHARTS_AT_ONCE)

    def label(self, request: Request, id: str, form: LabelForm) -> Response:
        person, _ = self._door.actor(request, form.person)
        label, why = ("expected", form.usual) if form.label == "usual" else (form.label, form.why)
        try:
            check_origin(request, form.csrf)
            code = form.code.get_secret_value().strip()
            self._deps.label(anomaly=id, label=label, person=person, why=why, code=code, channel="page")
        except QuellError as error:
            return self.one(request, id, problem=str(error), status=status_of(error))
        response = RedirectResponse("/anomalies" if form.back == "waiting" else f"/anomalies/{id}", status_code=303)
        set_cookie(request, response, PERSON_COOKIE, person, REMEMBERED_SECONDS)
        return response

    def one(self, request: Request, id: str, *, problem: str = "", status: int = 200) -> Response:
        view = read_anomaly(self._deps.store, id)
        if view is None:
            error = f"anomaly {id} is not in the store: it was never there, or gave way to newer ones"
            return self._renderer.show(request, self._door.visitor(request), "problem.html", error=error, status=404)
        return self.show(request, view, "one", problem=problem, status=status)

    def chart(self, id: str) -> Response:
        view = read_anomaly(self._deps.store, id)
        if view is None:
            return Response(status_code=404)
        if not self._turns.acquire(timeout=WAIT_FOR_A_TURN.total_seconds()):
            text = _no_chart("No chart: the metrics answer slowly, load the page again")
            return Response(text, media_type=SVG, headers=PICTURE_HEADERS)
        try:
            return Response(draw(self._deps, view.anomaly), media_type=SVG, headers=PICTURE_HEADERS)
        finally:
            self._turns.release()

    def show(
        self, request: Request, shown: AnomalyList | AnomalyView, place: str, *, problem: str = "", status: int = 200
    ) -> Response:
        return self._renderer.show(
            request,
            self._door.visitor(request),
            "anomalies.html",
            status=status,
            views=shown.views if isinstance(shown, AnomalyList) else (shown,),
            listed=shown if isinstance(shown, AnomalyList) else None,
            place=place,
            problem=problem,
            person=request.cookies.get(PERSON_COOKIE, ""),
            people=sorted(self._deps.config.people),
        )


def draw(deps: GatewayDeps, anomaly: Anomaly) -> str:
    """The anomaly's chart; where metrics do not answer, a picture that says why there is none."""
    worst = f"score {anomaly.score:.2f}"
    events = [(anomaly.started_at, "began"), (anomaly.worst_at, f"worst, {worst}")]
    if anomaly.started_at == anomaly.worst_at:
        events = [(anomaly.started_at, f"began, {worst}")]
    data, said = None, "the signal or the series is gone"
    try:
        data = deps.series_of(anomaly)
    except QuellError as error:
        said = str(error)
    if data is None:
        return _no_chart(f"No chart: {said}")
    return _chart(data, events)


def _chart(data: ChartData, events: list[tuple[datetime, str]]) -> str:
    return signal_chart(
        title=data.title,
        unit=data.unit,
        timestamps=data.timestamps,
        values=data.values,
        lower=data.lower,
        upper=data.upper,
        events=events,
        height=200,
    )


def _no_chart(text: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 48" width="760" height="48" role="img">'
        f'<text x="12" y="28" font-family="sans-serif" font-size="13" fill="#7a8591">{escape(text[:110])}</text></svg>'
    )
