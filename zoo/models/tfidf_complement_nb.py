"""A bag of words and complement naive Bayes, one a label."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, model
from ..settings import ABOVE_ZERO
from ..text import BAGS, TFIDF, TFIDF_CHOICES, check_bag, tfidf

CARD = ModelCard(
    name="tfidf-complement-nb",
    title="TF-IDF + complement naive Bayes",
    description="Word 1- and 2-grams, sublinear TF-IDF, one naive Bayes a label with the weights of the complement.",
    modality="text",
    framework="scikit-learn",
    citation="Rennie et al. 2003, Tackling the Poor Assumptions of Naive Bayes Text Classifiers, ICML",
    default={**TFIDF, "alpha": 0.05, "norm": False},
    presets=BAGS,
    space={"alpha": Range(0.001, 10.0, log=True), "norm": Choice((True, False)), "ngrams": Range(1, 3)},
    blas_threads=1,
    choices=TFIDF_CHOICES,
    check=check_bag,
    limits={"alpha": (ABOVE_ZERO, 1_000)},
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline

    one = ComplementNB(alpha=float(config["alpha"]), norm=bool(config["norm"]))
    return make_pipeline(tfidf(config, context), OneVsRestClassifier(one))
