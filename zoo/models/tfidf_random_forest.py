"""A bag of words and a random forest."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, Scalar, model
from ..text import BAGS, PUBLISHED, TFIDF, TFIDF_CHOICES, check_bag, tfidf

# scikit-learn's own defaults: the report names none.
_PUBLISHED: dict[str, Scalar] = {"trees": 100, "max_features": 0.0}

CARD = ModelCard(
    name="tfidf-random-forest",
    title="TF-IDF + random forest",
    description="Word 1- and 2-grams, sublinear TF-IDF, one forest for all labels together.",
    modality="text",
    framework="scikit-learn",
    citation="Breiman 2001, Random Forests, Machine Learning 45:5-32",
    default={**TFIDF, "trees": 300, "max_features": 0.01, "min_samples_leaf": 1},
    presets=BAGS | {name: bag | _PUBLISHED for name, bag in PUBLISHED.items()},
    space={
        "trees": Range(100, 600),
        "max_features": Range(0.001, 0.1, log=True),
        "min_samples_leaf": Range(1, 8),
    },
    blas_threads=1,
    choices=TFIDF_CHOICES,
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; a tree splits on all labels at once. ``max_features`` of 0 is the terms' square root."""
    from sklearn.pipeline import make_pipeline

    from ..heads import forest

    return make_pipeline(tfidf(config, context), forest(config, context))
