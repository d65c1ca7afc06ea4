"""The bag-of-words models: the same answer on any number of threads, and a vocabulary that comes back from disk."""

from __future__ import annotations

import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from skops.io import dump, get_untrusted_types, load
from threadpoolctl import threadpool_limits
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.options import check
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.core import TaskCard
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Context, split_name
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.text import TFIDF, tfidf

LABELS = tuple(f"l{index}" for index in range(24))
CARD = TaskCard(
    name="zipf", title="t", description="d", version=1, kind="multilabel", modality="text", labels=LABELS,
    primary_metric="f1_macro", group="none", licence="CC0-1.0", source="generated", citation="none",
)  # fmt: skip


def corpus(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    words = np.minimum(rng.zipf(1.2, (rows, 80)), 20_000)
    targets = (rng.random((rows, 24)) < 0.2).astype(np.uint8)
    texts = [
        " ".join([f"w{w}" for w in row] + [f"l{i}" for i in np.flatnonzero(t)])
        for row, t in zip(words, targets, strict=True)
    ]
    return np.array(texts, dtype=object), targets


def test_threads_change_no_probability() -> None:
    """Sparse copies made in threads have raced before: float32 input gave other answers in one fit of three."""
    X, y = corpus(1500)
    model = MODELS.get("tfidf-logreg")
    answers = []
    for threads in (1, 2, 2, 2, 2):
        built = model.build(model.card.default, Context(CARD, 3, "cpu", threads, FeatureCache()))
        with (
            threadpool_limits(MODELS.get("tfidf-logreg").card.blas_threads, "blas"),
            joblib.parallel_config(backend="threading"),
        ):
            answers.append(built.fit(X, y).predict_proba(X[:300]))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_the_vocabulary_is_stored_whole_and_fast(tmp_path: Path) -> None:
    X, _ = corpus(2000)
    fitted = tfidf(TFIDF, Context(CARD, 3, "cpu", 1, FeatureCache())).fit(X)
    assert len(fitted.vocabulary_) > 15_000
    start = time.perf_counter()
    dump(fitted, tmp_path / "v.skops")
    ours = time.perf_counter() - start
    again = load(tmp_path / "v.skops", trusted=get_untrusted_types(file=tmp_path / "v.skops"))
    assert again.vocabulary_ == fitted.vocabulary_
    assert (again.transform(X[:50]) != fitted.transform(X[:50])).nnz == 0
    plain = TfidfVectorizer(**{**fitted.get_params(), "norm": "l2"}).fit(X)
    assert (plain.transform(X[:50]) != fitted.transform(X[:50])).nnz == 0
    start = time.perf_counter()
    dump(plain, tmp_path / "p.skops")
    assert ours < (time.perf_counter() - start) / 3


@pytest.mark.parametrize("suite", ["movie-genres-grid", "movie-genres-grid-offline"])
def test_the_grid_is_three_models_on_three_kinds_of_text(suite: str) -> None:
    request = check(suite, {})
    assert request.tasks == ("movie-genres",)
    assert len(request.models) == 9
    for part in ("-random-forest", "-logreg", "-mlp"):
        assert sum(part in name for name in request.models) == 3
    shown = [split_name(name) for name in request.models]
    configs = [MODELS.get(name).card.configure(preset) for name, preset in shown]
    assert [config.get("vectorizer", "embedding") for config in configs] == ["counts", "counts", "embedding"] * 3
    if suite.endswith("grid"):
        words = [config.get("preprocessing", config.get("encoder")) for config in configs]
        assert words == ["nltk", "spacy", "bert-base-uncased"] * 3
        assert {config["max_length"] for config in configs if "encoder" in config} == {512}


def test_words_and_vectors_are_one_input(tmp_path: Path) -> None:
    """Each row is the words' TF-IDF of length 1 beside the encoder's vector of the length that the setting names."""
    pytest.importorskip("torch")
    from zoobench.zoo.encoders import FrozenEncoder

    card, X, y = text_task("multilabel")
    encoder = tiny_encoder(tmp_path / "encoder")
    model, place = MODELS.get("tfidf-embedding-logreg"), Context(card, 3, "cpu", 2, FeatureCache())
    built = model.build(model.card.configure("", {"encoder": encoder, "weight": 0.5}), place)
    fitted = built.fit(X, y)
    rows, words = fitted[0].transform(X).toarray(), tfidf(TFIDF, place).fit(X).transform(X).toarray()
    np.testing.assert_allclose(rows[:, : words.shape[1]], words)
    vectors = FrozenEncoder(encoder, context=place).transform(X)
    vectors *= 0.5 / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(rows[:, words.shape[1] :], vectors, atol=1e-6)
    assert place.features.charged > 0


def test_notes_of_a_pipelines_parts_are_found_once() -> None:
    class Noting(TransformerMixin, BaseEstimator):
        notes_ = ("halved",)

    parts = make_union(Noting(), make_pipeline(Noting(), Noting()))
    assert adapter.notes(make_pipeline(parts, LogisticRegression())) == ("halved",)
    assert adapter.notes(LogisticRegression()) == ()
