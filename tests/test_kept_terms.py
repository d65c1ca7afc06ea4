"""Counts of terms that trials share: the same to the bit, and counted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from zoobench.benchmarks import runner
from zoobench.zoo.kept_terms import kept_terms
from zoobench.zoo.vectorizers import Counts, PairTfidf, Tfidf


def test_counts_of_terms_are_the_same_from_the_store(tmp_path: Path) -> None:
    texts = np.array(["the cat sat", "a cat ran on the mat", "dogs ran"] * 3, dtype=object)
    others = np.array(["cat dogs", "mat the"], dtype=object)
    makers = [
        lambda: Tfidf(ngram_range=(1, 2), sublinear_tf=True),
        lambda: PairTfidf(norm=None, min_df=2),
        lambda: Counts(analyzer="char_wb", ngram_range=(3, 4)),
    ]
    for make in makers:
        plain = make()
        learnt, asked = plain.fit_transform(texts), plain.transform(others)
        for _ in range(2):
            with kept_terms(tmp_path, "code"):
                kept = make()
                again = kept.fit_transform(texts), kept.transform(others)
            assert (learnt != again[0]).nnz == (asked != again[1]).nnz == 0
            assert kept.vocabulary_ == plain.vocabulary_
            assert learnt.dtype == again[0].dtype
    assert len(list(tmp_path.rglob("*.npz"))) == 6
    with kept_terms(tmp_path, "code"):
        Tfidf(ngram_range=(1, 2), sublinear_tf=True).fit(texts[:5])
    assert len(list(tmp_path.rglob("*.npz"))) == 7  # other texts, other counts


def test_trials_of_the_same_words_count_them_once(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path / "cache"))
    asked = {"task": "tiny", "model": "tfidf-logreg", "trials": 4, "set": {"ngrams": "1"}}
    finished = runner.run_suite("quick", {**asked, "plugin": tiny, "results": tmp_path, "quiet": True})  # type: ignore[typeddict-item]
    best = next(record for record in finished.records if record.tuning)
    assert best.tuning
    assert best.tuning.finished == 4
    assert len(list((tmp_path / "cache" / "features" / "terms").glob("*/fit.npz"))) == 1
