"""The bag-of-words models: the same answer on any number of threads, and a vocabulary that comes back from disk."""

from __future__ import annotations

import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from skops.io import dump, get_untrusted_types, load
from threadpoolctl import threadpool_limits
from zoobench.datasets.core import TaskCard
from zoobench.zoo.core import MODELS, Context
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
    fitted = tfidf(TFIDF).fit(X)
    assert len(fitted.vocabulary_) > 15_000
    start = time.perf_counter()
    dump(fitted, tmp_path / "v.skops")
    ours = time.perf_counter() - start
    again = load(tmp_path / "v.skops", trusted=get_untrusted_types(file=tmp_path / "v.skops"))
    assert again.vocabulary_ == fitted.vocabulary_
    assert (again.transform(X[:50]) != fitted.transform(X[:50])).nnz == 0
    plain = TfidfVectorizer(**fitted.get_params()).fit(X)
    assert (plain.transform(X[:50]) != fitted.transform(X[:50])).nnz == 0
    start = time.perf_counter()
    dump(plain, tmp_path / "p.skops")
    assert ours < (time.perf_counter() - start) / 3
