"""Runs: the week's flow runs as Prefect counts them, by flow and state, with how long they took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quell.prevention.weekly.figure import Behind, BehindKind, Figure, Unit, mean_of
from quell.prevention.weekly.section import Row, Section, slug, unique

BAD = ("failed", "crashed")
STATES = ("completed", "failed", "crashed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowHealth:
    """One flow in one week. `states` counts runs by state; `seconds` are how long the last of them took, by run id.

    `bad` are the last runs that failed or crashed.
    """

    flow: str
    states: Mapping[str, int]
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    bad: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        return sum(self.states.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHealth:
    """What Prefect said; `unavailable` is why it said nothing, or not everything."""

    flows: tuple[FlowHealth, ...] = ()
    unavailable: str = ""


def runs_section(health: RunHealth) -> Section:
    """The flows in order of trouble, then of name."""
    known = sorted(health.flows, key=lambda flow: (-sum(flow.states.get(state, 0) for state in BAD), flow.flow))
    return Section(
        key="runs",
        title="Run health in Prefect",
        columns=("runs", *STATES, "others", "duration"),
        rows=unique(_row(flow) for flow in known),
        empty=f"Not known: {health.unavailable}" if health.unavailable else "Prefect has no run of this week.",
        notes=(health.unavailable,) if health.unavailable and known else (),
    )


def _row(flow: FlowHealth) -> Row:
    key = f"runs/{slug(flow.flow)}"
    took = [Behind(kind=BehindKind.RUN, id=run, value=seconds, runs=(run,)) for run, seconds in flow.seconds.items()]
    bad = tuple(Behind(kind=BehindKind.RUN, id=run, runs=(run,)) for run in flow.bad)
    others = sum(count for state, count in flow.states.items() if state not in STATES)

    def counted(state: str, count: int, behind: Sequence[Behind] = ()) -> Figure:
        name = f"runs of {flow.flow}" + (f", {state}" if state else "")
        value = float(count) if flow.runs else None
        return Figure(
            key=f"{key}.{state or 'all'}", name=name, unit=Unit.COUNT, value=value, n=flow.runs, behind=tuple(behind)
        )

    return Row(
        name=flow.flow,
        cells=(
            counted("", flow.runs, took),
            *(counted(state, flow.states.get(state, 0), bad if state in BAD else ()) for state in STATES),
            counted("others", others),
            mean_of(f"{key}.duration", f"duration of {flow.flow}", Unit.SECONDS, took),
        ),
    )
