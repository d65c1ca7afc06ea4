"""What words add to a label: it adds up to what the classifier says, whatever stands in the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from zoobench.benchmarks.check import text_task
from zoobench.datasets.core import Kind
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.word_weights import Weighed, weigh

MARKED = "[E1] Fever [/E1] and\n[E2]nodule[/E2] here, fever again"
TEXTS = [
    "fever",
    "no known word",
    "",
    "Fever, FEVER and a fracture of İstanbul's nodule",
    MARKED,
    "ΟΔΟΣ fever\u00a0nodule",
]


def fitted(kind: Kind, preset: str = "", classes: int = 0, **settings: Any) -> tuple[Any, int]:
    card, X, y = text_task(kind)
    model = MODELS.get("tfidf-logreg")
    built = model.build(model.card.configure(preset, settings), Context(card, 0, "cpu", 1, FeatureCache()))
    if classes:
        y, X = y[y < classes], X[y < classes]
    return built.fit(X, y), classes or len(card.labels)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("settings", [{}, {"ngrams": 3}, {"vectorizer": "counts"}, {"pair": False}])
@pytest.mark.parametrize("text", TEXTS)
def test_words_and_the_rest_are_the_log_odds(kind: Kind, settings: dict[str, Any], text: str) -> None:
    model, labels = fitted(kind, **settings)
    weighed = weigh(model, text, labels)
    assert weighed is not None
    expected = [line.decision_function(model[0].transform([text]))[0] for line in model[-1].estimators_]
    np.testing.assert_allclose(weighed.rest + weighed.added.sum(axis=1), expected, atol=1e-9)
    words = [text[start:end] for start, end in weighed.spans]
    assert words == [word for word in words if word.replace("_", "").isalnum()]
    assert "E1" not in words


def test_without_its_strongest_word_a_text_says_less() -> None:
    model, labels = fitted("multilabel", ngrams=1)
    text = text_task("multilabel")[1][0]
    weighed = weigh(model, text, labels)
    assert weighed is not None
    for label, added in enumerate(weighed.added):
        start, end = weighed.spans[added.argmax()]
        less = weigh(model, text.replace(text[start:end], " "), labels)
        assert less is not None
        assert less.added[label].sum() < added.sum()


def test_two_classes_are_one_line_seen_from_both_sides() -> None:
    model, labels = fitted("multiclass", classes=2)
    assert len(model[-1].estimators_) == 1
    text = text_task("multiclass")[1][0]
    weighed = weigh(model, text, labels)
    assert weighed is not None
    np.testing.assert_allclose(weighed.added[0], -weighed.added[1])
    log_odds = weighed.rest + weighed.added.sum(axis=1)
    np.testing.assert_allclose(log_odds, logit(model.predict_proba([text])[0]), atol=1e-6)


def test_a_label_that_nobody_has_is_moved_by_no_word() -> None:
    card, X, y = text_task("multilabel")
    y = y.copy()
    y[:, 1] = 0
    model = MODELS.get("tfidf-logreg")
    built = model.build(model.card.configure(), Context(card, 0, "cpu", 1, FeatureCache())).fit(X, y)
    weighed = weigh(built, X[0], len(card.labels))
    assert weighed is not None
    assert not weighed.added[1].any()
    assert weighed.added[0].any()


@pytest.mark.parametrize("settings", [{"preprocessing": "nltk-offline"}, {"letters": 4}, {"medical_features": True}])
def test_what_is_no_sum_of_the_texts_own_words_is_not_told(settings: dict[str, Any]) -> None:
    model, labels = fitted("multilabel", **settings)
    assert weigh(model, "fever", labels) is None
    _, X, y = text_task("multilabel")
    scaled = make_pipeline(model[0], MaxAbsScaler(), OneVsRestClassifier(LogisticRegression())).fit(X, y)
    assert weigh(scaled, "fever", labels) is None
    assert weigh(object(), "fever", labels) is None


def test_weights_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="do not go with"):
        Weighed(np.zeros((2, 2), int), np.zeros((3, 4)), np.zeros(3))
