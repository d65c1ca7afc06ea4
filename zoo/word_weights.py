"""What each word of a text adds to a label, where a model is a weighted sum of words and pairs of words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .entity_window import MARKERS

_MARKER = re.compile("|".join(map(re.escape, MARKERS)))


@dataclass(frozen=True)
class Weighed:
    """The words of a text, and what they add.

    Attributes
    ----------
    spans
        (words, 2) int64: where each word begins and ends in the text, in characters.
    added
        (labels, words) float64: what a word adds to the log odds of a label. A term of several words, or one that
        stands in several places, is shared among them equally.
    rest
        (labels,) float64: the intercept, and what is added by terms that are no words of the text (its marked pair).
    """

    spans: np.ndarray
    added: np.ndarray
    rest: np.ndarray

    def __post_init__(self) -> None:
        if self.spans.shape != (self.added.shape[1], 2) or self.rest.shape != self.added.shape[:1]:
            raise ValueError(f"{self.spans.shape} spans do not go with {self.added.shape} weights")


def weigh(estimator: Any, text: str, labels: int) -> Weighed | None:
    """Weigh the words of a text; None where the model is none of which this can be told exactly.

    It is told of a pipeline of a vectoriser of words as they stand and one linear classifier a label: of several
    classes, each against the rest.
    """
    parts = [part for _, part in getattr(estimator, "steps", ())]
    if len(parts) != 2 or not _of_plain_words(parts[0]):
        return None
    vectorizer, classifier = parts
    row = vectorizer.transform([text])  # a list: its own markers and types are read as in `predict_proba`
    lines = _lines(classifier, row.indices, labels)
    if lines is None:
        return None
    weights, intercepts = lines
    adds = weights * row.data
    spans = np.array(list(_spans(vectorizer, text)), np.int64).reshape(-1, 2)
    words = [_lower(text)[start:end] for start, end in spans]
    added = np.zeros((labels, len(spans)))
    column = {int(index): place for place, index in enumerate(row.indices)}
    told = np.zeros(len(row.indices), bool)
    for term, places in _places(words, *vectorizer.ngram_range).items():
        place = column.get(vectorizer.vocabulary_.get(term, -1))
        if place is not None:
            told[place] = True
            held = np.concatenate(places)
            np.add.at(added.T, held, adds[:, place] / len(held))
    return Weighed(spans, added, intercepts + adds[:, ~told].sum(axis=1))


def _of_plain_words(vectorizer: Any) -> bool:
    """Return whether a vectoriser's terms are the words of a text in lower case, and groups of neighbours."""
    wanted = {"analyzer": "word", "lowercase": True, "strip_accents": None, "stop_words": None, "preprocessor": None}
    known = hasattr(vectorizer, "vocabulary_") and hasattr(vectorizer, "token_pattern")
    return known and all(getattr(vectorizer, name, None) == value for name, value in wanted.items())


def _lines(classifier: Any, columns: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the (labels, columns) weights and (labels,) intercepts of a linear classifier a label, or None."""
    members = getattr(classifier, "estimators_", ())
    weights, intercepts = np.zeros((labels, len(columns))), np.zeros(labels)
    if not len(members):
        return None
    names = getattr(classifier, "classes_", range(labels))
    # Of two classes there is one line, for the second against the first.
    two = len(members) == 1 and len(names) == 2
    for place, member in zip(names[1:] if two else names, members, strict=True):
        if type(member).__name__ == "_ConstantPredictor":
            continue  # of a label that all training rows have, or none: no word changes it
        if getattr(member, "coef_", None) is None or not hasattr(member, "intercept_"):
            return None
        weights[place], intercepts[place] = member.coef_[0, columns], float(member.intercept_[0])
    if two:
        weights[names[0]], intercepts[names[0]] = -weights[names[1]], -intercepts[names[1]]
    return weights, intercepts


def _lower(text: str) -> str:
    """Return a text in lower case with every character where it was (a dotted capital I becomes two elsewhere)."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _spans(vectorizer: Any, text: str) -> Iterator[tuple[int, int]]:
    clear = _MARKER.sub(lambda marker: " " * len(marker[0]), text)
    return (match.span() for match in re.finditer(vectorizer.token_pattern, _lower(clear)))


def _places(words: list[str], fewest: int, most: int) -> dict[str, list[np.ndarray]]:
    """Return by term the numbers of the words of each of its places."""
    found: dict[str, list[np.ndarray]] = {}
    for size in range(fewest, most + 1):
        for start in range(len(words) - size + 1):
            found.setdefault(" ".join(words[start : start + size]), []).append(np.arange(start, start + size))
    return found
