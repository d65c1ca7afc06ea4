"""System 1's `extract_medical_features` as a scikit-learn transformer; imports scikit-learn, so builders import it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

_PATTERNS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "medication_count": re.compile(r"\b(?:drug|medication|treatment|therapy|medicine)\b", re.IGNORECASE),
        "symptom_count": re.compile(r"\b(?:pain|symptom|discomfort|ache|fever|nausea)\b", re.IGNORECASE),
        "anatomy_count": re.compile(r"\b(?:heart|brain|liver|kidney|lung|blood|cell)\b", re.IGNORECASE),
        "procedure_count": re.compile(r"\b(?:surgery|operation|procedure|examination|test)\b", re.IGNORECASE),
        "diagnosis_count": re.compile(r"\b(?:diagnosis|condition|disease|disorder|syndrome)\b", re.IGNORECASE),
        # With a decimal point, as published: 0.5 counts, 5 and 2 in "5 of 2" do not.
        "numeric_count": re.compile(r"\b\d+\.\d*\b"),
        "abbreviation_count": re.compile(r"\b[A-Z]{2,}\b"),
    }
)

FEATURES: tuple[str, ...] = ("text_length", "word_count", *_PATTERNS)
"""The columns, named as published: characters, words, then occurrences of five kinds of terms, of decimal numbers and
of abbreviations (two capitals or more)."""


def counts(texts: Sequence[str]) -> np.ndarray:
    """Return the (n, 9) float64 counts of `FEATURES` in (n,) texts, as published."""
    rows = [
        (len(text), len(text.split()), *(len(pattern.findall(text)) for pattern in _PATTERNS.values()))
        for text in texts
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


class MedicalFeatures(TransformerMixin, BaseEstimator):
    """(n,) texts to the (n, 9) float64 logarithms log(1 + count) of `counts`.

    Logarithms because a length of 700 characters stands beside counts of 0 to 5: all columns lie in 0 to about 8, as
    a regularised linear model beside TF-IDF wants them. Nothing is learnt from the texts.
    """

    def fit(self, X: Sequence[str], y: Any = None) -> MedicalFeatures:
        """Return itself: there is nothing to learn."""
        return self

    def transform(self, X: Sequence[str]) -> np.ndarray:
        """Return the (n, 9) features of (n,) texts."""
        return np.log1p(counts(X))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the (9,) names of the columns."""
        return np.array(FEATURES, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, False
        return tags
