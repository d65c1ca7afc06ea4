"""Near-identical texts: which examples say the same thing, so that no fold is tested on what it was shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Upper bound of one block of the distance matrix in MiB: memory stays flat however many texts there are.
_BLOCK_MIB = 128
# A cosine that is the threshold but for its rounding counts as the threshold, so that machines agree.
_ROUNDING = 1e-9


def near_identical_groups(texts: Sequence[str] | np.ndarray, threshold: float = 0.9) -> np.ndarray:
    """Group texts that are near-identical, directly or through others in between.

    Two texts are joined when the cosine of their TF-IDF vectors (scikit-learn's defaults: lower-cased words
    of two or more characters, L2 norm) is at least `threshold`; a group is a connected component of those
    pairs. Texts that are equal to the letter are always joined, also when they hold no word.

    Parameters
    ----------
    texts
        (n,) strings.
    threshold
        Cosine in (0, 1].

    Returns
    -------
    (n,) int64 group numbers, 0, 1, 2, … in the order in which the groups first appear.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} is not in (0, 1]")
    number: dict[str, int] = {}
    distinct = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    if not number:
        return distinct
    return _by_first_appearance(_components(list(texts), list(number), threshold)[distinct])


def _components(texts: list[str], distinct: list[str], threshold: float) -> np.ndarray:
    """Return the (distinct,) component of each distinct text; word weights are those of all texts."""
    from scipy.sparse.csgraph import connected_components
    from sklearn import config_context
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import radius_neighbors_graph
    from threadpoolctl import threadpool_limits

    vectorizer = TfidfVectorizer()
    words = vectorizer.build_analyzer()
    if not any(words(text) for text in distinct):
        return np.arange(len(distinct))
    vectors = vectorizer.fit(texts).transform(distinct)
    # Sparse products gain nothing from BLAS threads, which only wait for one another here.
    with threadpool_limits(1, user_api="blas"), config_context(working_memory=_BLOCK_MIB):
        graph = radius_neighbors_graph(vectors, 1 - threshold + _ROUNDING, metric="cosine")
    return connected_components(graph, directed=False)[1]


def _by_first_appearance(numbers: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
