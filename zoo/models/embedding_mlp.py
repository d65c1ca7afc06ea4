"""A frozen encoder's embeddings and a Keras multilayer perceptron."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, model
from ..keras_text import LOOP, LOOP_CHOICES, MLP, MLP_SPACE
from ..text import ENCODER, ENCODER_CHOICES, ENCODER_LIMITS, ENCODERS, check_encoder

CARD = ModelCard(
    name="embedding-mlp",
    title="Frozen encoder + Keras MLP",
    description="Mean-pooled embeddings of a frozen transformer; 3 x (Dense 384 ReLU, Dropout 0.3); AdamW; "
    "early stopping on the validation loss with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Sandoval Torres et al. 2025, movie genre classification report",
    default={**ENCODER, **LOOP, **MLP},
    presets=ENCODERS,
    space=MLP_SPACE,
    folders=("encoder",),
    requires=("torch", "transformers", "keras"),
    extra="torch,keras",
    choices={**ENCODER_CHOICES, **LOOP_CHOICES},
    check=check_encoder,
    limits=ENCODER_LIMITS,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..encoders import frozen_encoder
    from ..keras_classifier import KerasClassifier
    from ..keras_inputs import Embedded
    from ..networks.mlp import mlp

    return KerasClassifier(mlp, config, context, Embedded(frozen_encoder(config, context)))
