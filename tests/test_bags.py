"""Bags of words: against scikit-learn's own, marked pairs, heads on labels that hardly occur, and boosters on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from zoobench.benchmarks.check import text_task
from zoobench.datasets.support.errors import UserError
from zoobench.datasets.support.texts import Texts
from zoobench.zoo import adapter
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.heads import Binary, Calibrated
from zoobench.zoo.pairs import pair_terms, unmarked
from zoobench.zoo.text import BAGS, PUBLISHED, TFIDF, tfidf

CARD, PLAIN, TARGETS = text_task("multilabel")
MARKED_TEXT = (
    "Effects of [E1] aspirin [/E1]. In rats [E1] Aspirin [/E1] strongly inhibited [E2] COX-2 [/E2] in the colon. "
    "[E2] COX-2 [/E2] matters."
)


def context(threads: int = 2) -> Context:
    return Context(CARD, 3, "cpu", threads, FeatureCache())


def bag(**settings: Any) -> Any:
    return tfidf({**TFIDF, **settings}, context())


def test_counts_are_scikit_learns() -> None:
    ours = bag(vectorizer="counts", ngrams=1, min_df=1, shortest=2)
    theirs = CountVectorizer()
    assert (ours.fit_transform(PLAIN) != theirs.fit_transform(PLAIN)).nnz == 0
    assert ours.vocabulary_ == theirs.vocabulary_
    assert (ours.transform(PLAIN[:9]) != theirs.transform(PLAIN[:9])).nnz == 0


def test_the_published_presets_are_count_vectorizers_defaults() -> None:
    for name, preset in PUBLISHED.items():
        built = tfidf({**TFIDF, **preset, "preprocessing": "plain"}, context())
        assert built.fit(PLAIN).vocabulary_ == CountVectorizer().fit(PLAIN).vocabulary_
        assert preset["preprocessing"] == name
    logreg = MODELS.get("tfidf-logreg").build(MODELS.get("tfidf-logreg").card.configure("nltk"), context())
    one = logreg[-1].estimator
    plain = LogisticRegression()
    assert (one.C, one.class_weight, one.solver, one.max_iter) == (plain.C, None, plain.solver, 1000)


def test_unmarked_texts_are_scikit_learns_tfidf_with_and_without_pairs() -> None:
    theirs = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106
    expected = theirs.fit_transform(PLAIN)
    for pair in (True, False):
        found = bag(pair=pair).fit_transform(PLAIN)
        assert abs(found - expected).max() < 1e-15
        assert found.has_sorted_indices


def test_blocks_stand_side_by_side() -> None:
    texts = np.array([f"{text} BP 3.5 mg, drug therapy" for text in PLAIN], dtype=object)
    words, letters = bag(), TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), min_df=2, sublinear_tf=True)
    both = bag(letters=4, medical_features=True).fit_transform(texts)
    first, second = words.fit_transform(texts), letters.fit_transform(texts)
    assert both.shape[1] == first.shape[1] + second.shape[1] + 9
    assert abs(both[:, :-9] - sp.hstack([first, second])).max() < 1e-12
    assert np.allclose(np.expm1(both[:, -9:].toarray())[:, 0], [len(text) for text in texts])


def test_medical_features_see_capitals_that_preprocessing_takes() -> None:
    pytest.importorskip("nltk")
    texts = np.array(["MRI of the CT scan", "mri of the ct scan"] * 3, dtype=object)
    found = bag(preprocessing="nltk-offline", medical_features=True).fit_transform(texts)[:, -1].toarray().ravel()
    assert np.allclose(np.expm1(found), [2, 0] * 3)


def test_unknown_words_for_settings() -> None:
    with pytest.raises(UserError, match="unknown vectorizer of tfidf-logreg 'tfdif': did you mean 'tfidf'"):
        MODELS.get("tfidf-logreg").card.configure("", {"vectorizer": "tfdif"})
    with pytest.raises(UserError, match="unknown preprocessing"):
        bag(preprocessing="stem")


@pytest.mark.parametrize("settings", [{"min_df": 1000}, {"shortest": 20, "ngrams": 1, "min_df": 1}])
@pytest.mark.parametrize("vectorizer", ["tfidf", "counts"])
def test_settings_that_leave_no_term_are_named(vectorizer: str, settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"no term stands in min_df=\d+ training texts: lower it, or shortest"):
        bag(vectorizer=vectorizer, **settings).fit_transform(PLAIN)


def test_what_a_pair_is_told_by() -> None:
    terms = pair_terms(MARKED_TEXT, ("Chemical", "Gene"))
    assert {
        "types|Chemical>Gene", "types|1=Chemical", "types|2=Gene", "types|Chemical~Gene",
        "entity|1=aspirin", "entity|1=aspi-", "entity|1=-irin", "entity|2=cox",
        "between|strongly", "between|12 inhibited", "between|strongly inhibited", "between|<rats", "between|>colon",
        "near|1<of", "near|1>inhibited", "near|2>matters", "near|2<strongly",
        "layout|gap 2", "layout|first 1", "layout|together 1", "layout|opens 1=True", "layout|opens 2=True",
        "layout|mentions 1=2", "layout|overlap False",
        "sentence|E1 strongly", "sentence|inhibited E2", "sentence|colon", "typed|Chemical>Gene inhibited",
    } <= set(terms)  # fmt: skip
    assert "sentence|matters" not in terms  # its sentence holds one of the two
    assert not any("[" in term.partition("|")[2] for term in terms if not term.startswith("near"))


def test_the_other_order_and_what_lies_inside() -> None:
    turned = pair_terms("[E2] A [/E2] activates [E1] B [/E1]")
    assert "between|21 activates" in turned
    assert "layout|first 2" in turned
    nested = pair_terms("[E1] breast [E2] BRCA1 [/E2] cancer [/E1]")
    assert "layout|overlap True" in nested
    assert {"sentence|E1 E3", "sentence|E3 E1"} <= set(nested)
    assert pair_terms("no markers") == pair_terms("[E1] one [/E1] alone") == pair_terms("") == []
    assert unmarked("[E1] a [/E1] b").split() == ["a", "b"]


def marked(rows: int = 60) -> tuple[Texts, np.ndarray]:
    """Return texts of six words of which only what stands between the entities tells the class."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, rows)
    verbs = np.array(["inhibits", "activates"])
    texts = [f"{verbs[1 - k]} x [E1] a{i % 3} [/E1] {verbs[k]} [E2] b [/E2] y." for i, k in enumerate(y)]
    types = {"type_1": np.array(["Drug"] * rows, object), "type_2": np.array(["Gene"] * rows, object)}
    return Texts(texts, types), y


def test_pairs_tell_what_words_cannot() -> None:
    X, y = marked()
    scores = {}
    for pair in (True, False):
        vectors = bag(pair=pair, ngrams=1).fit(X[:40])
        model = LogisticRegression(C=20).fit(vectors.transform(X[:40]), y[:40])
        scores[pair] = model.score(vectors.transform(X[40:]), y[40:])
        assert model.predict(vectors.transform(np.asarray(X[40:]))).shape == (20,)  # without columns it answers too
    assert scores[True] == 1.0
    assert scores[False] < 0.8


def test_groups_of_terms_weigh_the_same() -> None:
    X, _ = marked()
    vectors = bag(min_df=1)
    matrix = vectors.fit_transform(X).toarray()
    groups = np.array([term.partition("|")[0] if "|" in term else "" for term in vectors.get_feature_names_out()])
    assert {*groups} == {"", "types", "entity", "near", "between", "layout", "sentence", "typed"}
    shares = np.stack([(matrix[:, groups == group] ** 2).sum(axis=1) for group in sorted({*groups})])
    assert np.allclose(shares, 1 / 8)


@pytest.mark.parametrize("vectorizer", ["tfidf", "counts"])
def test_pair_vectorisers_come_back_from_disk(vectorizer: str, tmp_path: Path) -> None:
    X, _ = marked()
    fitted = bag(vectorizer=vectorizer).fit(X)
    adapter.save(fitted, tmp_path)
    again = adapter.load(bag(vectorizer=vectorizer), tmp_path)
    assert (again.transform(X) != fitted.transform(X)).nnz == 0


@pytest.mark.parametrize("positives", [1, 2, 4, 30])
def test_calibration_on_labels_that_hardly_occur(positives: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.zeros(60, int)
    y[:positives] = 1
    X[:positives] += 2
    one = Calibrated(LinearSVC(random_state=0), 5, 0).fit(X, y)
    found = one.predict_proba(X)
    assert np.allclose(found.sum(axis=1), 1)
    assert found[:positives, 1].mean() > found[positives:, 1].mean()


def test_a_binary_classifier_of_one_class() -> None:
    X = np.eye(3)
    assert Binary(LogisticRegression()).fit(X, np.ones(3)).predict_proba(X).tolist() == [[0, 1]] * 3
    assert Binary(LogisticRegression()).fit(X, np.zeros(3)).predict(X).tolist() == [0] * 3
    learnt = Binary(LogisticRegression()).fit(X, np.array([0, 1, 1]))
    assert np.allclose(learnt.predict_proba(X), LogisticRegression().fit(X, [0, 1, 1]).predict_proba(X))


def test_boosters_are_lightgbms_and_threads_change_none() -> None:
    lgb = pytest.importorskip("lightgbm")
    card = MODELS.get("tfidf-lightgbm").card
    config = card.configure("", {"trees": 8})
    answers = [MODELS.get("tfidf-lightgbm").build(config, context(n)).fit(PLAIN, TARGETS) for n in (1, 2)]
    first, second = (model.predict_proba(PLAIN) for model in answers)
    assert np.array_equal(first, second)
    own = lgb.LGBMClassifier(
        n_estimators=8, num_leaves=31, min_child_samples=2, learning_rate=0.1, colsample_bytree=0.1, random_state=3, n_jobs=1, verbosity=-1,
        deterministic=True, force_col_wise=True,
    )  # fmt: skip
    matrix = answers[0][:-1].transform(PLAIN).astype(np.float32)
    assert np.allclose(own.fit(matrix, TARGETS[:, 1]).predict_proba(matrix)[:, 1], first[:, 1])
    leaves = sum(tree["num_leaves"] for tree in own.booster_.dump_model()["tree_info"])
    assert answers[0][-1].n_parameters > leaves


def test_every_bag_has_the_settings_and_presets() -> None:
    cards = [model.card for name, model in MODELS.entries().items() if name.startswith("tfidf-")]
    bags = [card for card in cards if "encoder" not in card.default]
    assert len(bags) >= 6
    for card in bags:
        assert set(TFIDF) <= set(card.default)
        assert set(BAGS) <= set(card.presets)
