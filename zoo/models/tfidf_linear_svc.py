"""A bag of words and linear support vector machines, calibrated, one a label."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, model
from ..text import BAGS, TFIDF, TFIDF_CHOICES, check_bag, tfidf

CARD = ModelCard(
    name="tfidf-linear-svc",
    title="TF-IDF + linear SVM",
    description="Word 1- and 2-grams and groups of 3 to 5 letters, sublinear TF-IDF; one linear SVM a label (squared "
    "hinge loss), its decision values turned into probabilities by a sigmoid fitted on out-of-fold values.",
    modality="text",
    framework="scikit-learn",
    citation="Joachims 1998, Text Categorization with Support Vector Machines, ECML; Platt 1999, Probabilistic Outputs",
    default={**TFIDF, "letters": 5, "C": 1.0, "balanced": False, "folds": 5},
    presets=BAGS,
    space={"C": Range(0.01, 100.0, log=True), "balanced": Choice((True, False)), "ngrams": Range(1, 3)},
    blas_threads=1,
    choices=TFIDF_CHOICES,
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; labels are fitted side by side in threads."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from ..heads import Calibrated

    one = LinearSVC(
        C=float(config["C"]), class_weight="balanced" if config["balanced"] else None, random_state=context.seed
    )
    calibrated = Calibrated(one, int(config["folds"]), context.seed)
    return make_pipeline(tfidf(config, context), OneVsRestClassifier(calibrated, n_jobs=context.threads))
