"""Published simple methods, implemented from their papers, on the same cases; each ranks nodes, best first.

None of them abstains. Where a method ranks metrics, a node has the place of its best metric.
"""

import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats

from benchmarks.rootcause_cases import Case
from quell.triage.rootcause.calls import build_graph

Ranker = Callable[[Case], list[str]]
RESTART, SELF, BACKWARD, STEPS = 0.15, 1.0, 0.1, 200
SIGNIFICANCE = 0.05


def robust_scorer(case: Case) -> list[str]:
    """BARO's RobustScorer: largest |x - median| / IQR per metric, median and IQR of the time before.

    Source: Pham, Ha, Zhang, BARO: Robust root cause analysis for microservices, FSE 2024. As in its code, a metric
    whose IQR is 0 is divided by 1 (scikit-learn's RobustScaler).
    """
    return _best_metric(case, _robust(case).max(axis=0))


def epsilon_diagnosis(case: Case) -> list[str]:
    """epsilon-Diagnosis: metrics whose distribution differs significantly before and during, by size of the test.

    Source: Shan et al., epsilon-Diagnosis: unsupervised and real-time diagnosis of small-window long-tail latency in
    large-scale microservice platforms, WWW 2019, where the two-sample test is energy-based; here it is the energy
    distance with the threshold of the paper's significance taken from random splits of the time before.
    """
    before, now = _common(case)
    random = np.random.default_rng(0)
    scores = np.zeros(before.shape[1])
    for place in range(before.shape[1]):
        x, y = before[:, place], now[:, place]
        x, y = x[np.isfinite(x)], y[np.isfinite(y)]
        spread = float(np.std(x)) if len(x) else 0.0
        if len(x) < 8 or not len(y) or spread == 0:
            continue
        null = [_energy(random.permutation(x), len(y)) for _ in range(20)]
        distance = float(stats.energy_distance(x, y))
        if distance > np.quantile(null, 1 - SIGNIFICANCE):
            scores[place] = distance / spread
    return _best_metric(case, scores)


def _energy(shuffled: np.ndarray, size: int) -> float:
    size = min(size, len(shuffled) // 2)
    return float(stats.energy_distance(shuffled[size:], shuffled[:size]))


def random_walk(case: Case) -> list[str]:
    """MonitorRank: a walk from the target along calls, drawn by each node's correlation with the target; visits rank.

    Source: Kim, Sumbaly, Shah, Root cause detection in a service-oriented architecture, SIGMETRICS 2013: forward along
    calls, backward with rho = 0.1, staying put where the node is more alike than its callees. Without calls or target
    the walk has nowhere to start, and the order is that of the correlation.
    """
    nodes = list(dict.fromkeys(node for node, _ in case.abnormal.columns))
    graph = build_graph(case.calls, nodes)
    alike = _likeness(case, nodes)
    place = {node: i for i, node in enumerate(nodes)}
    moves = np.zeros((len(nodes), len(nodes)))
    for node, i in place.items():
        below = [place[c] for c in graph.callees.get(node, ())]
        for j in below:
            moves[i, j] += alike[j]
        for j in (place[c] for c in graph.callers.get(node, ())):
            moves[i, j] += BACKWARD * alike[j]
        moves[i, i] += max(0.0, SELF * alike[i] - max((alike[j] for j in below), default=0.0))
    total = moves.sum(axis=1, keepdims=True)
    moves = np.where(total > 0, moves / np.maximum(total, 1e-12), np.eye(len(nodes)))
    prior = alike / max(alike.sum(), 1e-12)
    visits = prior.copy()
    for _ in range(STEPS):
        visits = RESTART * prior + (1 - RESTART) * visits @ moves
    return [nodes[i] for i in np.argsort(-visits, kind="stable")]


def _likeness(case: Case, nodes: list[str]) -> np.ndarray:
    """Largest |correlation| of a node's metrics with the target's metric, before and during taken together."""
    before, now = _common(case)
    both = np.vstack((before[-60:], now))
    columns = _names(case)
    target = columns.index(case.target) if case.target in columns else int(np.argmax(_robust(case).max(axis=0)))
    found = dict.fromkeys(nodes, 0.0)
    for place, (node, _) in enumerate(columns):
        known = np.isfinite(both[:, place]) & np.isfinite(both[:, target])
        x, y = both[known, place], both[known, target]
        if known.sum() > 4 and x.std() > 0 and y.std() > 0:
            found[node] = max(found[node], abs(float(np.corrcoef(x, y)[0, 1])))
    return np.array([found[node] for node in nodes])


def _names(case: Case) -> list[tuple[str, str]]:
    known = set(case.normal.columns)
    return [column for column in case.abnormal.columns if column in known]


def _common(case: Case) -> tuple[np.ndarray, np.ndarray]:
    names = _names(case)
    before = {column: place for place, column in enumerate(case.normal.columns)}
    now = {column: place for place, column in enumerate(case.abnormal.columns)}
    return case.normal.values[:, [before[n] for n in names]], case.abnormal.values[:, [now[n] for n in names]]


def _robust(case: Case) -> np.ndarray:
    before, now = _common(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, middle, high = np.nanquantile(before, (0.25, 0.5, 0.75), axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.nan_to_num(np.abs(now - middle) / width)


def _best_metric(case: Case, scores: np.ndarray) -> list[str]:
    ranked: dict[str, None] = {}
    names = _names(case)
    for place in np.argsort(-scores, kind="stable"):
        if scores[place] > 0:
            ranked.setdefault(names[place][0])
    return list(ranked)


PEERS: dict[str, Ranker] = {
    "median/IQR (BARO)": robust_scorer,
    "epsilon-diagnosis": epsilon_diagnosis,
    "random walk (MonitorRank)": random_walk,
}
