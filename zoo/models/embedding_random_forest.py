"""A frozen encoder's embeddings and a random forest."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, Scalar, model
from ..text import ENCODER, ENCODER_CHOICES, ENCODER_LIMITS, ENCODERS, check_encoder

# scikit-learn's own defaults: the report names none.
_PUBLISHED: dict[str, Scalar] = {"trees": 100, "max_features": 0.0, "min_samples_leaf": 1}

CARD = ModelCard(
    name="embedding-random-forest",
    title="Frozen encoder + random forest",
    description="Mean-pooled embeddings of a frozen transformer, one forest for all labels together.",
    modality="text",
    framework="torch",
    citation="Breiman 2001, Random Forests, Machine Learning 45:5-32",
    default={**ENCODER, "trees": 300, "max_features": 0.05, "min_samples_leaf": 2},
    # "bert" is the published movie-genre grid's, "published" the same on the packaged encoder.
    presets=ENCODERS | {"bert": {**ENCODERS["bert"], **_PUBLISHED}, "published": _PUBLISHED},
    space={
        "trees": Range(100, 600),
        "max_features": Range(0.01, 0.5, log=True),
        "min_samples_leaf": Range(1, 16),
    },
    folders=("encoder",),
    requires=("torch", "transformers"),
    extra="torch",
    choices=ENCODER_CHOICES,
    check=check_encoder,
    limits=ENCODER_LIMITS,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the pipeline; a tree splits on all labels at once. ``max_features`` of 0 is the dimensions' square root."""
    from sklearn.pipeline import make_pipeline

    from ..encoders import frozen_encoder
    from ..heads import forest

    return make_pipeline(frozen_encoder(config, context), forest(config, context))
