"""A bag of words and LightGBM, one booster a label."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, model
from ..text import BAGS, TFIDF, TFIDF_CHOICES, check_bag, tfidf

CARD = ModelCard(
    name="tfidf-lightgbm",
    title="TF-IDF + LightGBM",
    description="Sublinear TF-IDF of words and groups of 3 to 5 letters; gradient-boosted trees: one booster a label, "
    "or one multi-class booster.",
    modality="text",
    framework="scikit-learn",
    citation="Ke et al. 2017, LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 30",
    default={
        **TFIDF,
        # Pairs of words made fits twice as long and no better (a tree finds its own pairs); groups of letters (cardio,
        # hepat) took a third off the Hamming loss of biomedical abstracts, out of fold.
        "ngrams": 1,
        "letters": 5,
        "min_df": 10,
        "trees": 150,
        "leaves": 31,
        # LightGBM's own default of 20 keeps it from rare words: on 2,500 abstracts it cost 0.01 of ROC AUC.
        "rows_per_leaf": 2,
        "learning_rate": 0.1,
        "terms_per_tree": 0.1,
    },
    presets=BAGS,
    space={
        "trees": Range(50, 500, log=True),
        "leaves": Range(7, 63, log=True),
        "rows_per_leaf": Range(1, 20, log=True),
        "learning_rate": Range(0.02, 0.3, log=True),
        "terms_per_tree": Range(0.05, 1.0, log=True),
    },
    requires=("lightgbm",),
    extra="text",
    blas_threads=1,
    choices=TFIDF_CHOICES,
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline."""
    from sklearn.pipeline import make_pipeline

    from ..boosting import LightGBM

    params = {
        "num_leaves": int(config["leaves"]),
        "min_data_in_leaf": int(config["rows_per_leaf"]),
        "learning_rate": float(config["learning_rate"]),
        "feature_fraction": float(config["terms_per_tree"]),
    }
    boosted = LightGBM(params, int(config["trees"]), context.threads, context.seed)
    return make_pipeline(tfidf(config, context), boosted)
