"""What a metric measures, told from the words of its name alone.

The families are the ones the field agrees on: latency, traffic, errors and saturation (the four golden signals, Beyer
et al., Site Reliability Engineering, chapter 6) and utilisation per resource (the USE method, Gregg, ACM Queue 2012).
The words are those of Prometheus' exporters, OpenTelemetry's semantic conventions, cAdvisor, Istio and CloudWatch. A
name without a known word is `OTHER`: it is still weighed, at less.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Kind(StrEnum):
    LATENCY = "latency"
    ERRORS = "errors"
    SUCCESS = "success"
    REQUESTS = "requests"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    SATURATION = "saturation"
    OTHER = "other"


class Side(StrEnum):
    """Where a call was measured: by the node that answers, or by the node that waits for others."""

    ANSWERS = "answers"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    kind: Kind
    side: Side = Side.ANSWERS
    quantile: float | None = None  # 0..1
    is_average: bool = False
    is_share: bool = False  # a percentage or ratio by its name
    is_of_host: bool = False  # of the machine under the node, by its name
    is_running_total: bool = False  # may be a counter that only grows
    unit_seconds: float | None = None  # of a latency whose name has a unit


# Resources come first: "cpu seconds" is not a latency and "disk errors" point at the disk.
_FAMILIES: tuple[tuple[Kind, frozenset[str]], ...] = (
    (Kind.CPU, frozenset({"cpu", "cpus", "cores", "throttled", "throttling", "load1", "load5", "load15"})),
    (Kind.MEMORY, frozenset({"mem", "memory", "heap", "rss", "swap", "gc", "oom", "pagefaults"})),
    (
        Kind.DISK,
        frozenset({"disk", "diskio", "fs", "filesystem", "io", "iops", "iowait", "blkio", "volume", "inodes"}),
    ),
    (
        Kind.NETWORK,
        frozenset({"network", "net", "packet", "packets", "tcp", "udp", "retransmit", "retransmits", "rtt", "rx"}),
    ),
    (
        Kind.SUCCESS,
        frozenset({"availability", "available", "success", "successful", "succeeded", "successes", "uptime", "up"}),
    ),
    (
        Kind.ERRORS,
        frozenset(
            {
                "error", "errors", "err", "errs", "failure", "failures", "failed", "fail", "fault", "faults",
                "exception", "exceptions", "timeout", "timeouts", "5xx", "4xx", "rejected", "dropped", "drops",
                "aborted", "loss",
                "unavailable", "unavailability", "crash", "crashes", "restarts",
            }
        ),
    ),
    (
        Kind.SATURATION,
        frozenset(
            {
                "queue", "queued", "backlog", "pending", "waiting", "saturation", "threads", "goroutines",
                "connections", "sockets", "socket", "pool", "inflight", "concurrency", "concurrent", "lag", "fds",
            }
        ),
    ),
    (
        Kind.LATENCY,
        frozenset(
            {
                "latency", "latencies", "duration", "durations", "delay", "elapsed", "rt", "responsetime", "response",
                "time", "seconds", "millis", "milliseconds",
            }
        ),
    ),
    (Kind.NETWORK, frozenset({"bytes", "bandwidth", "receive", "received", "transmit", "transmitted", "sent"})),
    (
        Kind.REQUESTS,
        frozenset(
            {
                "request", "requests", "req", "reqs", "rps", "qps", "tps", "ops", "rpm", "calls", "hits", "throughput",
                "workload", "load", "traffic", "invocations", "operations", "queries", "transactions", "visits",
                "count",
            }
        ),
    ),
)  # fmt: skip
_SHARE = frozenset({"ratio", "percent", "percentage", "pct", "%", "share", "fraction"})
_AVERAGE = frozenset({"average", "avg", "mean"})
_WAITS = frozenset({"client", "source", "outbound", "egress", "upstream", "caller"})
_ANSWERS = frozenset({"server", "destination", "dest", "inbound", "ingress", "callee"})
_HOST = frozenset({"node", "host", "machine", "vm"})
_RUNNING_TOTAL = frozenset({"total", "sum", "count", "counter", "bytes"})
_UNITS = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "millis": 1e-3,
    "milliseconds": 1e-3, "us": 1e-6, "micros": 1e-6, "microseconds": 1e-6, "ns": 1e-9, "nanoseconds": 1e-9,
}  # fmt: skip
_WORD = re.compile(r"[45]xx|[pP]\d{2,3}(?![A-Za-z\d])|load\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+(?:\.\d+)?|%", re.ASCII)
_BARE_QUANTILES = {"50", "75", "90", "95", "99", "999"}


@lru_cache(maxsize=4096)
def read_metric(name: str) -> Meaning:
    """What `name` measures.

    >>> read_metric("PodServerLatencyP90(s)").kind, read_metric("PodServerLatencyP90(s)").quantile
    (<Kind.LATENCY: 'latency'>, 0.9)
    >>> read_metric("container_cpu_usage_seconds_total").kind.value, read_metric("http_requests_errors").kind.value
    ('cpu', 'errors')
    """
    words = [word.lower() for word in _WORD.findall(name)]
    quantile = _quantile(words)
    sides = [word for word in words if word in _WAITS or word in _ANSWERS]
    kind = _kind(words)
    if kind is Kind.OTHER and quantile is not None and sides:
        kind = Kind.LATENCY  # the percentile of a call without a further word: calls have durations
    return Meaning(
        kind=kind,
        side=Side.WAITS if sides and sides[0] in _WAITS else Side.ANSWERS,
        quantile=quantile,
        is_average=any(word in _AVERAGE for word in words),
        is_share=any(word in _SHARE for word in words),
        is_of_host=bool(words) and any(word in _HOST for word in words),
        is_running_total=any(word in _RUNNING_TOTAL for word in words),
        unit_seconds=next((_UNITS[word] for word in reversed(words) if word in _UNITS), None),
    )


def _kind(words: list[str]) -> Kind:
    present = set(words)
    return next((kind for kind, known in _FAMILIES if present & known), Kind.OTHER)


def _quantile(words: list[str]) -> float | None:
    for word in words:
        digits = word[1:] if re.fullmatch(r"p\d{2,3}", word) else word
        if word != digits or digits in _BARE_QUANTILES:
            return int(digits) / 10 ** len(digits)
    return 0.5 if "median" in words else None
