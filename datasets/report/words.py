"""The words of a corpus: which are frequent with a label, and which tell it from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BUDGET = 40_000_000
"""Characters that are counted at most; of a larger corpus, a random part of its texts."""

# Two letters first (a hyphen may part them: x-ray), then letters, digits and hyphens. What follows an apostrophe is
# no word of its own; nor is a marker such as [E1].
_WORD = r"(?<!['\u2019\w])[^\W\d_]-?[^\W\d_](?:[\w-]*\w)?"
_ENGLISH = "aren couldn didn does doesn doing did don hadn hasn haven isn just mustn shouldn wasn weren wouldn"
_SPANISH = """
    al algo algunas algunos ante antes como con contra cual cuando de del desde donde durante el ella ellas ellos en
    entre era eran es esa esas ese eso esos esta estaba estaban estado estar estas este esto estos fue fueron ha había
    habían habido han hasta hay la las le les lo los más me mi mis mucho muchos muy nada ni no nos nosotros nuestra
    nuestro otra otras otro otros para pero poco por porque que quien quienes se sea sean ser si sido sin sobre solo
    son su sus también tanto te tiene tienen toda todas todo todos tu tus un una unas uno unos ya yo
"""


def stop_words(language: str) -> frozenset[str]:
    """Return the words that carry no subject, in lower case: English (scikit-learn's list), Spanish, or none."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    lists = {"en": ENGLISH_STOP_WORDS | frozenset(_ENGLISH.split()), "es": frozenset(_SPANISH.split())}
    return lists.get(language.partition("-")[0].lower(), frozenset())


def sampled_rows(texts: Sequence[str] | np.ndarray, budget: int = BUDGET) -> np.ndarray:
    """Return the rows to count, in order: all of them, or a random part that holds about `budget` characters."""
    total = sum(map(len, texts))
    rows = np.arange(len(texts))
    if total <= budget:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[: max(1, int(len(rows) * budget / total))])


def label_words(
    texts: Sequence[str] | np.ndarray, hot: np.ndarray, language: str, top: int = 15
) -> list[dict[str, Any]]:
    """Return for each label its most frequent and its most distinctive words, stop words left out.

    Distinctive are the words that the rows with a label use more than the rows without it, by the z-score of
    their log-odds under a Dirichlet prior, the corpus itself (Monroe, Colaresi, Quinn 2008, "Fightin' Words:
    Lexical Feature Selection and Evaluation for Identifying the Content of Political Conflict", Political
    Analysis 16(4)). A plain ratio would put words first that stand there once.

    Parameters
    ----------
    texts
        (n,) strings.
    hot
        (n, labels) bool.

    Returns
    -------
    For each label: ``rows``, ``frequent`` (lists of word, occurrences, rows that hold it) and ``distinctive``
    (lists of word, z-score, occurrences), at most `top` each.
    """
    counted = _counts(texts, language)
    if counted is None:
        return [{"rows": int(rows), "frequent": [], "distinctive": []} for rows in hot.sum(axis=0)]
    counts, names = counted
    total = np.asarray(counts.sum(axis=0)).ravel()
    return [_of_label(counts[np.flatnonzero(column)], total, names, top) for column in hot.T]


def _counts(texts: Sequence[str] | np.ndarray, language: str) -> tuple[csr_matrix, np.ndarray] | None:
    """Return (n, words) counts and the (words,) names; None if no text holds a word."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=_WORD, stop_words=sorted(stop_words(language)) or None)
    try:
        counts = csr_matrix(vectorizer.fit_transform(texts))
    except ValueError:  # "empty vocabulary": scikit-learn has no other word for it
        return None
    return counts, vectorizer.get_feature_names_out()


def _of_label(held: csr_matrix, total: np.ndarray, names: np.ndarray, top: int) -> dict[str, Any]:
    """Return the words of one label from (rows, words) counts of its rows and (words,) counts of all rows."""
    inside = np.asarray(held.sum(axis=0)).ravel()
    rows = np.bincount(held.indices, minlength=len(names))
    frequent = np.argsort(-inside, kind="stable")[:top]
    scores = log_odds(inside, total - inside)
    distinctive = np.argsort(-scores, kind="stable")[:top]
    return {
        "rows": len(held.indptr) - 1,
        "frequent": [[str(names[at]), int(inside[at]), int(rows[at])] for at in frequent if inside[at]],
        "distinctive": [
            [str(names[at]), float(scores[at]), int(inside[at])] for at in distinctive if inside[at] and scores[at] > 0
        ],
    }


def log_odds(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return (words,) z-scores of the log-odds ratio of (words,) counts inside against those outside.

    The prior of a word is its count in both together (equations 16, 20 to 22 of the paper); every word stands
    somewhere, so that no logarithm is infinite unless a side holds all words but one: that word scores 0.
    """
    prior = (inside + outside).astype(float)
    one, other = inside + prior, outside + prior
    rest_one, rest_other = one.sum() - one, other.sum() - other
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(one / rest_one) - np.log(other / rest_other)
        scores = ratio / np.sqrt(1 / one + 1 / other)
    return np.where(np.isfinite(scores), scores, 0.0)
