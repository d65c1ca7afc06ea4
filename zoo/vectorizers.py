"""Vectorisers that store well and see marked pairs; imports scikit-learn, so builders import it and listings do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize

from ..datasets.support.errors import UserError
from ..datasets.support.texts import columns
from .entity_window import PAIR_COLUMNS
from .pairs import pair_terms, unmarked

MARKED = "zoobench:marked"
"""The column that keeps a text with its markers where preprocessing took them from the words."""


class Counts(CountVectorizer):
    """scikit-learn's counts of terms with two differences that only show in use.

    Its rows come with sorted column indices: an unsorted matrix is sorted in place by whoever needs it first, and
    two labels fitted side by side in threads did so at once (the same seed gave other probabilities in one fit of
    three). Its vocabulary is stored as one text: skops writes a dictionary entry by entry, 8.6 s for 126,000 terms.
    """

    def fit(self, raw_documents: Any, y: Any = None) -> Any:
        """Learn the vocabulary of (n,) texts."""
        self.fit_transform(raw_documents, y)
        return self

    def fit_transform(self, raw_documents: Any, y: Any = None) -> Any:
        """Return the (n, terms) sparse matrix of the texts that the vocabulary is learnt from.

        Raises
        ------
        UserError
            If no term is left.
        """
        try:
            matrix: Any = super().fit_transform(raw_documents, y)
        except ValueError as error:  # scikit-learn's advice names what is no setting here
            if not any(words in str(error) for words in ("no terms remain", "empty vocabulary", "max_df corresponds")):
                raise
            raise UserError(f"no term stands in min_df={self.min_df} training texts: lower it, or shortest") from error
        matrix.sort_indices()
        return matrix

    def transform(self, raw_documents: Any) -> Any:
        """Return the (n, terms) sparse matrix of (n,) texts."""
        matrix = super().transform(raw_documents)
        matrix.sort_indices()
        return matrix

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}  # pyright: ignore[reportGeneralTypeIssues]
        vocabulary = state.pop("vocabulary_", None)
        if vocabulary is not None:
            state["terms"] = "\n".join(sorted(vocabulary, key=vocabulary.__getitem__))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        terms = state.pop("terms", None)
        super().__setstate__(state)
        if terms is not None:
            self.vocabulary_ = {term: column for column, term in enumerate(terms.split("\n"))}


class Tfidf(Counts, TfidfVectorizer):
    """scikit-learn's TF-IDF with the differences of `Counts`."""


class PairCounts(Counts):
    """`Counts` that takes the markers from a text, and for a text that marks two entities counts its `pair_terms` too.

    Columns ``type_1`` and ``type_2`` of `Texts` say what the entities are; without them it goes by the text alone.
    """

    def build_analyzer(self) -> Any:
        """Return the way from a text for its words, the text with markers and the types to terms."""
        words = super().build_analyzer()
        return lambda row: [*words(unmarked(row[0])), *pair_terms(*row[1:])]

    def fit_transform(self, raw_documents: Any, y: Any = None) -> Any:
        """Return the (n, terms) sparse matrix of the texts that the vocabulary is learnt from."""
        return super().fit_transform(_rows(raw_documents), y)

    def transform(self, raw_documents: Any) -> Any:
        """Return the (n, terms) sparse matrix of (n,) texts."""
        return super().transform(_rows(raw_documents))


class PairTfidf(PairCounts, TfidfVectorizer):
    """`Tfidf` of words and `pair_terms`; the groups of a row's terms weigh the same, so that many words drown none.

    To be built with ``norm=None``: each group is given the length 1, and then the row.
    """

    def fit_transform(self, raw_documents: Any, y: Any = None) -> Any:
        """Return the (n, terms) sparse matrix of the texts that the vocabulary is learnt from."""
        matrix = super().fit_transform(raw_documents, y)
        names = [term.partition("|")[0] if "|" in term else "" for term in self.get_feature_names_out()]
        self.groups_ = np.unique(names, return_inverse=True)[1]
        return self._normalised(matrix)

    def transform(self, raw_documents: Any) -> Any:
        """Return the (n, terms) sparse matrix of (n,) texts."""
        return self._normalised(super().transform(raw_documents))

    def _normalised(self, matrix: Any) -> Any:
        groups = int(self.groups_.max()) + 1
        if groups > 1:
            rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
            parts = rows * groups + self.groups_[matrix.indices]
            matrix.data /= np.sqrt(np.bincount(parts, matrix.data**2, matrix.shape[0] * groups))[parts]
        return normalize(matrix, copy=False)


def _rows(X: Any) -> Any:
    """Return for each text: the text for its words, the text with markers, and the types of the entities."""
    known = columns(X)
    unknown = [""] * len(X)
    types = zip(*(known.get(name, unknown) for name in PAIR_COLUMNS), strict=True)
    return list(zip(X, known.get(MARKED, X), types, strict=True))
