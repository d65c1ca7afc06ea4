"""A frozen encoder's embeddings and a Keras multilayer perceptron."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, model
from ..text import ENCODER

CARD = ModelCard(
    name="embedding-mlp",
    title="Frozen encoder + Keras MLP",
    description="Mean-pooled embeddings of a frozen transformer; 3 x (Dense 384 ReLU, Dropout 0.3); AdamW; "
    "early stopping on the validation loss with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Sandoval Torres et al. 2025, movie genre classification report",
    default={
        **ENCODER,
        "layers": 3,
        "units": 384,
        "dropout": 0.3,
        "learning_rate": 5e-4,
        "batch_size": 64,
        "epochs": 150,
        "patience": 10,
        "backend": "tensorflow",
    },
    space={
        "layers": Range(1, 4),
        "units": Range(128, 1024, log=True),
        "dropout": Range(0.0, 0.6),
        "learning_rate": Range(1e-5, 1e-2, log=True),
    },
    folders=("encoder",),
    requires=("torch", "transformers", "keras"),
    extra="torch,keras",
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..encoders import frozen_encoder
    from ..keras_classifier import KerasClassifier
    from ..networks.mlp import mlp

    return KerasClassifier(mlp, config, context, frozen_encoder(config, context))
