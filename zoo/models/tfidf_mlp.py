"""A bag of words and a Keras multilayer perceptron."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, model
from ..keras_text import LOOP, LOOP_CHOICES, MLP, MLP_SPACE
from ..text import BAGS, PUBLISHED, TFIDF, TFIDF_CHOICES, check_bag, tfidf

CARD = ModelCard(
    name="tfidf-mlp",
    title="TF-IDF + Keras MLP",
    description="Sublinear TF-IDF of words; 3 x (Dense 384 ReLU, Dropout 0.3); AdamW; early stopping on the "
    "validation loss with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Sandoval Torres et al. 2025, movie genre classification report",
    # Pairs of words would be six times as many inputs, each with 384 weights.
    default={**TFIDF, "ngrams": 1, **LOOP, **MLP},
    presets=BAGS | PUBLISHED,
    space=MLP_SPACE,
    requires=("keras",),
    extra="keras",
    choices={**TFIDF_CHOICES, **LOOP_CHOICES},
    check=check_bag,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..keras_classifier import KerasClassifier
    from ..keras_inputs import Bags
    from ..networks.mlp import mlp

    return KerasClassifier(mlp, config, context, Bags(tfidf(config, context)))
