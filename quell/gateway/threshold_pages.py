"""The threshold pages: every version of every limit with who, when and why, and what was seen of it beside what was
predicted."""

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from quell.gateway.deps import GatewayDeps
from quell.gateway.rendering import Renderer
from quell.gateway.safety import PICTURE_HEADERS
from quell.gateway.visitor import Door
from quell.incidents.chart import format_value
from quell.incidents.errors import NotFound
from quell.incidents.signal import Signal
from quell.incidents.slo import windows_in_words
from quell.incidents.standing import NEW, OTHERS, in_words
from quell.incidents.threshold import ThresholdState, ThresholdVersion, chart_id
from quell.incidents.timeline import NO_INCIDENT, TimelineEntry
from quell.ports import Transaction
from quell.prevention.limits import Limits, limits_in_words, limits_of
from quell.prevention.refusal_words import refusals_in_words
from quell.prevention.refusals import IN_FORCE, SHADOW, Refusals, Refused, refusals_id
from quell.prevention.refusals import from_body as read_refusals
from quell.prevention.rule_file import rule_diff
from quell.prevention.watch import WatchRecord, compare_in_words, from_body, watch_id

SHOWN = 200
ENTRIES_AT_ONCE = 500
MOST_ENTRIES = 20_000  # of the timeline that one page reads through
SVG = "image/svg+xml"
_WAITING = (ThresholdState.PROPOSED, ThresholdState.SHADOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """One client of standing limits; None where nothing was recorded of it."""

    name: str
    limit: str
    shadow: Refused | None
    in_force: Refused | None

    @property
    def worst(self) -> float:
        return max((one.refused + one.in_incidents for one in (self.shadow, self.in_force) if one), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdView:
    """`limit` and `seen` in words; `history` and `diff` are empty in lists."""

    version: ThresholdVersion
    limit: str
    seen: str
    watch: WatchRecord | None
    unit: str = ""
    shadow: Refusals | None = None
    in_force: Refusals | None = None
    history: tuple[TimelineEntry, ...] = ()
    diff: str = ""

    @property
    def rows(self) -> list[ClientRow]:
        """Of standing limits each client: those that were refused first, then those with the highest limits."""
        limits, window = self.version.clients or {}, self.version.window
        if window is None:
            return []
        known = {name for record in (self.shadow, self.in_force) if record for name, _ in record.worst_first()}
        found = [
            ClientRow(
                name=name,
                limit=in_words(limits[name], window) if name in limits else "as NEW",
                shadow=_refused(self.shadow, name),
                in_force=_refused(self.in_force, name),
            )
            for name in sorted({*limits, *known})
        ]
        return sorted(found, key=lambda row: (-row.worst, -limits.get(row.name, 0)))[:SHOWN]

    def written(self, value: float) -> str:
        """A value of the signal as people read it; of limits on the score and of burn rates, the bare number."""
        return format_value(value, self.unit)

    @property
    def is_waiting(self) -> bool:
        return self.version.state in _WAITING

    @property
    def may_be_reverted(self) -> bool:
        return self.is_waiting or self.version.state is ThresholdState.ACTIVE


def threshold_routes(deps: GatewayDeps, door: Door) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[Depends(door.reader)])
    renderer = Renderer(deps)

    @router.get("/thresholds")
    def thresholds(request: Request, signal: str = "") -> Response:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            written = tx.timeline.written()
            views = read_thresholds(deps, tx, signal)
        return renderer.show(
            request,
            door.visitor(request),
            "thresholds.html",
            waiting=[view for view in views if view.is_waiting],
            active=[view for view in views if view.version.state is ThresholdState.ACTIVE],
            former=[view for view in views if not view.may_be_reverted],
            signal=signal,
            version=written,
        )

    @router.get("/thresholds/{id}")
    def threshold(request: Request, id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            found = tx.thresholds.get(id)
            view = _view(deps, tx, found, with_history=True) if found else None
            has_chart = tx.documents.get(chart_id(id)) is not None
        if view is None:
            error = NotFound(f"threshold {id} is not in the store")
            return renderer.show(request, door.visitor(request), "problem.html", error=error, status=404)
        return renderer.show(request, door.visitor(request), "threshold.html", view=view, has_chart=has_chart)

    @router.get("/thresholds/{id}/chart.svg")
    def chart(id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        with deps.store.reading() as tx:
            document = tx.documents.get(chart_id(id))
        if document is None:
            return Response(status_code=404)
        return Response(document.blob, media_type=SVG, headers=PICTURE_HEADERS)

    return router


def read_thresholds(deps: GatewayDeps, tx: Transaction, signal: str = "") -> tuple[ThresholdView, ...]:
    """The versions that changed last, of one signal or of all."""
    where = {"signal": signal} if signal else None
    found = tx.thresholds.find(where, order="updated_at", descending=True, limit=SHOWN)
    return tuple(_view(deps, tx, version) for version in found)


def _view(
    deps: GatewayDeps, tx: Transaction, version: ThresholdVersion, *, with_history: bool = False
) -> ThresholdView:
    document = tx.documents.get(watch_id(version.id))
    watch = from_body(document.body) if document else None
    shadow, in_force = (_refusals(tx, kind, version.id) for kind in (SHADOW, IN_FORCE))
    return ThresholdView(
        version=version,
        limit=_clients_in_words(version) or _limit(deps, version),
        seen=compare_in_words(version.predicted, watch)
        if version.clients is None
        else refusals_in_words(version.predicted, shadow, in_force),
        watch=watch,
        unit=_unit(deps, version),
        shadow=shadow,
        in_force=in_force,
        history=_history(tx, version) if with_history else (),
        diff=rule_diff(_replaced(tx, version), version) if with_history else "",
    )


def _replaced(tx: Transaction, version: ThresholdVersion) -> ThresholdVersion | None:
    """What the version takes the place of."""
    return tx.thresholds.get(version.replaces) if version.replaces else None


def _limit(deps: GatewayDeps, version: ThresholdVersion) -> str:
    signal = _signal(deps, version)
    if version.burn and signal is not None and signal.slo is not None:
        return windows_in_words(version.burn, signal.slo)
    if version.score is not None:
        return limits_in_words("", Limits(upper=version.score))
    return limits_in_words(signal.unit if signal else "", limits_of(version))


def _unit(deps: GatewayDeps, version: ThresholdVersion) -> str:
    signal = _signal(deps, version)
    return "" if signal is None or version.burn or version.score is not None else signal.unit


def _signal(deps: GatewayDeps, version: ThresholdVersion) -> Signal | None:
    return deps.config.signals.get(version.signal.partition(":")[0])


def _clients_in_words(version: ThresholdVersion) -> str:
    """Empty for limits of another kind."""
    if version.clients is None or version.window is None:
        return ""
    named = len(set(version.clients) - {NEW, OTHERS})
    new = in_words(version.clients.get(NEW, 0), version.window)
    return f"of {named} client{'' if named == 1 else 's'}, new ones {new}"


def _refusals(tx: Transaction, kind: str, version: str) -> Refusals | None:
    document = tx.documents.get(refusals_id(kind, version))
    return read_refusals(document.body) if document else None


def _refused(record: Refusals | None, name: str) -> Refused | None:
    if record is None:
        return None
    return record.others if name == OTHERS else record.clients.get(name)


def _history(tx: Transaction, version: ThresholdVersion) -> tuple[TimelineEntry, ...]:
    """Who did what with it, when and why; the newest first. The timeline is read back to when it was proposed."""
    found: list[TimelineEntry] = []
    below: int | None = None
    for _ in range(MOST_ENTRIES // ENTRIES_AT_ONCE):
        entries = tx.timeline.of(version.incident or NO_INCIDENT, below=below, limit=ENTRIES_AT_ONCE)
        found += [entry for entry in reversed(entries) if entry.subject == version.id]
        if not entries or entries[0].at < version.created_at:
            break
        below = entries[0].number
    return tuple(found)
