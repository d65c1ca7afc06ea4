"""TF-IDF and logistic regression, one a label."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, model
from ..text import TFIDF, tfidf

CARD = ModelCard(
    name="tfidf-logreg",
    title="TF-IDF + logistic regression",
    description="Word 1- and 2-grams, sublinear TF-IDF, one L2 logistic regression a label (one-vs-rest).",
    modality="text",
    framework="scikit-learn",
    citation="Fan et al. 2008, LIBLINEAR, JMLR 9:1871-1874",
    default={**TFIDF, "C": 20.0, "balanced": True},
    space={"C": Range(0.01, 100.0, log=True), "balanced": Choice((True, False)), "ngrams": Range(1, 3)},
    # Sparse products gain nothing from BLAS threads, which spin: one thread fits about three times faster.
    blas_threads=1,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; labels are fitted side by side in threads, which LIBLINEAR runs without the GIL."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    one = LogisticRegression(
        solver="liblinear",
        C=float(config["C"]),
        class_weight="balanced" if config["balanced"] else None,
        random_state=context.seed,
        max_iter=1000,
    )
    return make_pipeline(tfidf(config), OneVsRestClassifier(one, n_jobs=context.threads))
