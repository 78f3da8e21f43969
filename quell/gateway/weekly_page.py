"""The weekly report: its page, what is behind each number, and the files to take away."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from markupsafe import Markup

from quell.adapters.weekly_file import write_csv, write_parquet
from quell.gateway.deps import GatewayDeps
from quell.gateway.problems import status_of
from quell.gateway.rendering import Renderer
from quell.gateway.visitor import Door
from quell.incidents.errors import NotFound, QuellError, Unavailable
from quell.ports import Clock
from quell.prevention.weekly.export import export_rows
from quell.prevention.weekly.figure import Behind, BehindKind, Figure
from quell.prevention.weekly.section import Section, WeeklyReport
from quell.prevention.weekly.strip import strip_chart
from quell.prevention.weekly.trend import trend_chart

SHOWN = 500  # records behind one number
KEPT = 8  # weeks
FRESH = timedelta(seconds=30)
WAIT_SECONDS = 20.0  # for the report that somebody else is having computed


def weekly_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    pages = _Pages(deps, door)

    @router.get("/weekly")
    def latest(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.report(request, "")

    @router.get("/weekly/{week}.csv")
    def as_csv(request: Request, week: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.file(request, week, "csv")

    @router.get("/weekly/{week}.parquet")
    def as_parquet(request: Request, week: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.file(request, week, "parquet")

    @router.get("/weekly/{week}")
    def one(request: Request, week: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.report(request, week)

    @router.get("/weekly/{week}/{figure:path}")
    def behind(request: Request, week: str, figure: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        return pages.behind(request, week, figure)

    return router


class _Reports:
    """Reports of the last half minute. One is computed at a time: it reads weeks of records."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._make, self._clock = deps.weekly, deps.clock
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[datetime, WeeklyReport]] = OrderedDict()

    def get(self, week: str) -> WeeklyReport:
        """Raises InvalidInput for what is no week, Unavailable when too many ask."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Unavailable("the weekly report is being computed for others: load the page again in a minute")
        try:
            kept = self._kept.get(week)
            if kept is None or not _is_fresh(kept[0], self._clock):
                kept = (self._clock(), self._make(week))
                for name in {week, kept[1].week.name}:  # the one without a name has one, too
                    self._kept[name] = kept
                    self._kept.move_to_end(name)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return kept[1]
        finally:
            self._lock.release()


def _is_fresh(at: datetime, clock: Clock) -> bool:
    return timedelta(0) <= clock() - at < FRESH


class _Pages:
    def __init__(self, deps: GatewayDeps, door: Door) -> None:
        self._deps, self._door = deps, door
        self._reports, self._renderer = _Reports(deps), Renderer(deps)

    def report(self, request: Request, week: str) -> Response:
        try:
            report = self._reports.get(week)
        except QuellError as error:
            return self._problem(request, error)
        return self._show(request, "weekly.html", report=report, charts=_charts(report))

    def behind(self, request: Request, week: str, key: str) -> Response:
        try:
            report = self._reports.get(week)
            section, figure = _found(report, key)
        except QuellError as error:
            return self._problem(request, error)
        shown = [(one, _address(one)) for one in figure.behind[:SHOWN]]
        return self._show(
            request, "weekly_figure.html", report=report, section=section, figure=figure, shown=shown, limit=SHOWN
        )

    def file(self, request: Request, week: str, kind: str) -> Response:
        try:
            report = self._reports.get(week)
        except QuellError as error:
            return self._problem(request, error)
        name = f"quell-{report.week.name}.{kind}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        if kind == "csv":
            return Response(write_csv(export_rows(report)), media_type="text/csv; charset=utf-8", headers=headers)
        return Response(
            write_parquet(export_rows(report)), media_type="application/vnd.apache.parquet", headers=headers
        )

    def _show(self, request: Request, template: str, **values: Any) -> Response:
        return self._renderer.show(request, self._door.visitor(request), template, **values)

    def _problem(self, request: Request, error: QuellError) -> Response:
        visitor = self._door.visitor(request)
        return self._renderer.show(request, visitor, "problem.html", error=str(error), status=status_of(error))


def _charts(report: WeeklyReport) -> Mapping[str, Markup]:
    """By section; what stands in them is escaped where they are drawn."""
    sections = {section.key: section for section in report.sections}
    return {"times": Markup(strip_chart(sections["times"].figures)), "trend": Markup(trend_chart(sections["trend"]))}


def _found(report: WeeklyReport, key: str) -> tuple[Section, Figure]:
    found = report.find(key)
    if found is None:
        raise NotFound(f"week {report.week.name} has no figure {key[:80]!r}: its page lists those that there are")
    return found


def _address(one: Behind) -> str:
    """Where a record is shown; empty where it has no page."""
    match one.kind:
        case BehindKind.INCIDENT:
            return f"/incidents/{one.id}"
        case BehindKind.MITIGATION | BehindKind.FIX:
            return f"/incidents/{one.incident}#{one.id}" if one.incident else ""
        case BehindKind.ALERT:
            return f"/alerts/{one.id}/why"
        case BehindKind.ANOMALY:
            return f"/anomalies/{one.id}"
        case BehindKind.THRESHOLD:
            return f"/thresholds/{one.id}"
        case BehindKind.REVIEW:
            return f"/incidents/{one.id}/postmortem"
        case BehindKind.DRILL:
            return f"/drills/{one.id}"
        case BehindKind.RUN:
            return ""
