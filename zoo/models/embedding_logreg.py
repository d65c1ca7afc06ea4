"""A frozen encoder's embeddings and logistic regression, one a label."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, Scalar, model
from ..text import ENCODER, ENCODER_CHOICES, ENCODER_LIMITS, ENCODERS, check_encoder

_PUBLISHED: dict[str, Scalar] = {"C": 1.0, "balanced": False, "standardise": False}

CARD = ModelCard(
    name="embedding-logreg",
    title="Frozen encoder + logistic regression",
    description="Mean-pooled embeddings of a frozen transformer, standardised, one logistic regression a label.",
    modality="text",
    framework="torch",
    citation="Reimers and Gurevych 2019, Sentence-BERT, https://arxiv.org/abs/1908.10084",
    default={**ENCODER, "C": 0.1, "balanced": True, "standardise": True},
    # "bert" is the published movie-genre grid's, "published" the same on the packaged encoder.
    presets=ENCODERS | {"bert": {**ENCODERS["bert"], **_PUBLISHED}, "published": _PUBLISHED},
    space={"C": Range(0.001, 10.0, log=True), "balanced": Choice((True, False))},
    folders=("encoder",),
    requires=("torch", "transformers"),
    extra="torch",
    # lbfgs multiplies matrices too small for BLAS threads, which spin: two took 9 x the time of one on movie-genres.
    blas_threads=1,
    choices=ENCODER_CHOICES,
    check=check_encoder,
    limits=ENCODER_LIMITS,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; labels are fitted side by side in threads."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ..encoders import frozen_encoder
    from ..heads import logistic_regression

    one = logistic_regression(config, context, "lbfgs")
    scaler = StandardScaler() if config["standardise"] else "passthrough"
    return make_pipeline(frozen_encoder(config, context), scaler, OneVsRestClassifier(one, n_jobs=context.threads))
