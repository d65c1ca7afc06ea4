"""A bag of words and logistic regression, one a label."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, Scalar, model
from ..text import BAGS, PUBLISHED, TFIDF, TFIDF_CHOICES, check_bag, tfidf

_PUBLISHED: dict[str, Scalar] = {"C": 1.0, "balanced": False, "solver": "lbfgs"}

CARD = ModelCard(
    name="tfidf-logreg",
    title="TF-IDF + logistic regression",
    description="Word 1- and 2-grams, sublinear TF-IDF, one L2 logistic regression a label (one-vs-rest).",
    modality="text",
    framework="scikit-learn",
    citation="Fan et al. 2008, LIBLINEAR, JMLR 9:1871-1874",
    default={**TFIDF, "C": 20.0, "balanced": True, "solver": "liblinear"},
    presets=BAGS | {name: bag | _PUBLISHED for name, bag in PUBLISHED.items()},
    space={"C": Range(0.01, 100.0, log=True), "balanced": Choice((True, False)), "ngrams": Range(1, 3)},
    # Sparse products gain nothing from BLAS threads, which spin: one thread fits about three times faster.
    blas_threads=1,
    choices={**TFIDF_CHOICES, "solver": ("liblinear", "lbfgs", "newton-cg", "sag", "saga")},
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; labels are fitted side by side in threads, which LIBLINEAR runs without the GIL."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    from ..heads import logistic_regression

    one = logistic_regression(config, context, str(config["solver"]))
    return make_pipeline(tfidf(config, context), OneVsRestClassifier(one, n_jobs=context.threads))
