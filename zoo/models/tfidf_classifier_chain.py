"""A bag of words and a chain of logistic regressions."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, model
from ..text import BAGS, TFIDF, TFIDF_CHOICES, check_bag, tfidf

CARD = ModelCard(
    name="tfidf-classifier-chain",
    title="TF-IDF + classifier chain",
    description="Word 1- and 2-grams, sublinear TF-IDF, logistic regressions in a row: each label also sees the "
    "answers to the labels before it, in an order drawn by the seed.",
    modality="text",
    framework="scikit-learn",
    citation="Read et al. 2011, Classifier Chains for Multi-label Classification, Machine Learning 85:333-359",
    kinds=("multilabel",),
    default={**TFIDF, "C": 20.0, "balanced": True},
    presets=BAGS,
    space={"C": Range(0.01, 100.0, log=True), "balanced": Choice((True, False)), "ngrams": Range(1, 3)},
    blas_threads=1,
    choices=TFIDF_CHOICES,
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline."""
    from sklearn.multioutput import ClassifierChain
    from sklearn.pipeline import make_pipeline

    from ..heads import Binary, logistic_regression

    one = logistic_regression(config, context)
    return make_pipeline(
        tfidf(config, context), ClassifierChain(Binary(one), order="random", random_state=context.seed)
    )
