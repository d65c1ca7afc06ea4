"""System 1's medical features against pandas' own counting, as the published code called it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from zoobench.zoo.medical_features import FEATURES, MedicalFeatures, counts
from zoobench.zoo.storage import skops_io

TEXT = "Drug THERAPY for heart Disease; pain, fever (1.5 mg, 20 ml, 3. x) in the ICU with MRI: blood test of the cells. drugs"


def published(texts: list[str]) -> np.ndarray:
    """Return the counts by pandas' string methods, term by term."""
    column = pd.Series(texts, dtype=object)
    terms = {
        "medication": ["drug", "medication", "treatment", "therapy", "medicine"],
        "symptom": ["pain", "symptom", "discomfort", "ache", "fever", "nausea"],
        "anatomy": ["heart", "brain", "liver", "kidney", "lung", "blood", "cell"],
        "procedure": ["surgery", "operation", "procedure", "examination", "test"],
        "diagnosis": ["diagnosis", "condition", "disease", "disorder", "syndrome"],
    }
    columns = [column.str.len(), column.str.split().str.len()]
    columns += [
        sum(column.str.count(rf"\b{word}\b", flags=re.IGNORECASE) for word in words) for words in terms.values()
    ]
    columns += [column.str.count(r"\b[0-9]+[.][0-9]*\b"), column.str.count(r"\b[A-Z][A-Z]+\b")]
    return np.column_stack([each.astype(float) for each in columns])


def test_counts_of_one_text_by_hand() -> None:
    named = dict(zip(FEATURES, counts([TEXT])[0], strict=True))
    assert named == {
        "text_length": len(TEXT),
        "word_count": 24,
        "medication_count": 2,
        "symptom_count": 2,
        "anatomy_count": 2,
        "procedure_count": 1,
        "diagnosis_count": 1,
        "numeric_count": 1,
        "abbreviation_count": 3,
    }


WORDS = st.sampled_from(
    [
        "drug",
        "Therapy",
        "PAIN",
        "heart",
        "hearts",
        "test.",
        "disease",
        "1.5",
        "7",
        "2.x",
        "ICU",
        "mRNA",
        "[E1]",
        "\n",
        "é",
    ]
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(WORDS).map(" ".join), min_size=1, max_size=5))
def test_counts_are_the_published_ones(texts: list[str]) -> None:
    np.testing.assert_array_equal(counts(texts), published(texts))


def test_transformer_gives_logarithms_with_names_and_learns_nothing() -> None:
    texts = np.array([TEXT, "", "\x00 \t", "高血圧 5.0"], dtype=object)
    features = MedicalFeatures()
    matrix = features.transform(texts)
    assert matrix.shape == (4, len(features.get_feature_names_out())) == (4, 9)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(np.expm1(matrix), published(list(texts)))
    np.testing.assert_array_equal(clone(features).fit_transform(texts), matrix)
    assert features.transform(np.array([], dtype=object)).shape == (0, 9)


def test_stored_and_loaded_by_skops(tmp_path) -> None:
    model = make_pipeline(MedicalFeatures(), LogisticRegression()).fit([TEXT, "short", TEXT * 2, "word"], [1, 0, 1, 0])
    skops_io.dump(model, tmp_path / "model.skops")
    unknown = skops_io.get_untrusted_types(file=tmp_path / "model.skops")
    assert unknown == ["zoobench.zoo.medical_features.MedicalFeatures"]
    again = skops_io.load(tmp_path / "model.skops", trusted=unknown)
    np.testing.assert_array_equal(again.predict_proba([TEXT, "x"]), model.predict_proba([TEXT, "x"]))


@pytest.mark.parametrize("text", ["1" * 60_000, "1." * 30_000, "A" * 60_000, "A " * 30_000, " " * 60_000])
def test_long_text_is_quick(text: str) -> None:
    assert np.isfinite(MedicalFeatures().transform([text])).all()
