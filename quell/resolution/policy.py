"""A canary's policy: the shares of traffic, how much evidence promotes, and how much reverts."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPolicy:
    """What is left at its default is the quick policy: an undo of a known bad change, under little traffic.

    `margin`, `slower_factor`, `p99_margin` and `saturation_margin` are the changes that must not be promoted; each is
    ruled out at `confidence`. `precision` is the half-width, as a share of its margin, from which on an interval's
    verdict is final: 0.5 tells the margin from nothing in both directions, 1 only keeps it from being promoted.
    Looks before that may only revert, at `early_significance`, because there are many of them (Haybittle-Peto).
    """

    shares: tuple[float, ...] = (0.1,)  # of the backend's traffic, step by step; each is judged
    warm_up: timedelta = timedelta(0)  # of each step; what is served in it does not count
    window: timedelta = timedelta(seconds=15)  # the least time of a step
    deadline: timedelta = timedelta(seconds=45)  # the most; then a person is asked
    minimum_requests: int = 30
    margin: float = 0.1  # excess of errors, a share of the requests
    error_floor: float = 0.005  # a smaller excess reverts nothing,
    error_share: float = 0.05  # nor does one that is a smaller part of the control's own errors
    confidence: float = 0.95
    significance: float = 0.01
    early_significance: float = 0.0002
    precision: float = 1.0
    control_error_limit: float = 0.2  # peers above it are no yardstick
    slower_factor: float = 1.5
    latency_floor: timedelta = timedelta(milliseconds=2)  # nobody feels less
    minimum_latencies: int = 8
    minimum_saturation: int = 10  # looks of each side
    p99_margin: float | None = None  # None: the tail is not judged
    saturation_margin: float = 0.2  # relative to the control,
    saturation_floor: float = 0.05  # and in the metric's own unit
    request_log: str = ""  # the load balancer's log that latencies are read from; without it they are not judged
    saturation: str = ""  # a query with {instance}; without it saturation is not judged


# Tells 10 % in p99 and one request in a hundred from nothing, each way with 98 %. It needs thousands of requests.
THOROUGH = CanaryPolicy(
    shares=(0.01, 0.1, 0.5, 1.0),
    warm_up=timedelta(seconds=10),
    window=timedelta(minutes=1),
    deadline=timedelta(hours=1),
    minimum_requests=500,
    margin=0.01,
    confidence=0.98,
    significance=0.005,
    precision=0.5,
    slower_factor=1.1,
    minimum_latencies=500,
    p99_margin=0.1,
)
