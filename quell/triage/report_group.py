"""Groups of reports that mean the same: words and pieces of words as features, joined by average likeness.

No language is assumed and no model is loaded: pieces of two to four characters find the same stem in other forms,
misspellings and, less well, languages without spaces; whole words tell apart what shares only endings. Rarity (idf)
is not used: in a handful of texts it is chance. Deterministic.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering  # pyright: ignore[reportMissingTypeStubs]
from sklearn.feature_extraction.text import TfidfVectorizer  # pyright: ignore[reportMissingTypeStubs]
from sklearn.pipeline import FeatureUnion  # pyright: ignore[reportMissingTypeStubs]

from quell.triage.report_text import normal_form

ALIKE = 0.25  # mean cosine; sentences about one trouble in other words lie at 0.26 to 0.65, strangers below 0.1
MOST_TEXTS = 300  # more are represented by an even sample: the time grows with the square


def group_texts(texts: Sequence[str], *, alike: float = ALIKE) -> NDArray[np.intp]:
    """For each text the number of its group; groups are numbered in the order of their first text.

    Texts with the same plain form are one from the start. Beyond MOST_TEXTS different ones, those that are not in the
    sample are groups of their own: fewer are then said to be alike, never more.

    >>> group_texts(["cannot pay with card", "paying by card fails", "search finds nothing"]).tolist()
    [0, 0, 1]
    """
    forms = [normal_form(text) for text in texts]
    distinct = list(dict.fromkeys(forms))
    place = {form: index for index, form in enumerate(distinct)}
    size = min(len(distinct), MOST_TEXTS)
    chosen: list[int] = np.unique(np.linspace(0, len(distinct) - 1, size).astype(int)).tolist()
    group = np.arange(len(distinct)) + len(distinct)
    group[chosen] = _cluster([distinct[index] for index in chosen], alike)
    return _in_order(np.array([group[place[form]] for form in forms], dtype=np.intp))


def _cluster(forms: Sequence[str], alike: float) -> NDArray[np.intp]:
    if len(forms) < 2:
        return np.zeros(len(forms), dtype=np.intp)
    features: Any = FeatureUnion(
        [
            ("words", TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", use_idf=False)),
            ("pieces", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), use_idf=False)),
        ]
    )
    try:
        rows: Any = features.fit_transform(forms)
    except ValueError:  # not one word in all of them
        return np.arange(len(forms))
    dense: Any = (rows @ rows.T).todense()  # sklearn and scipy.sparse come without these types
    likeness = np.asarray(dense, dtype=float) / 2  # each of the two parts has length one
    settings: dict[str, Any] = {"n_clusters": None, "distance_threshold": 1 - alike}
    model: Any = AgglomerativeClustering(metric="precomputed", linkage="average", **settings)
    return np.asarray(model.fit_predict(np.clip(1 - likeness, 0, None)), dtype=np.intp)


def _in_order(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
