"""A bidirectional GRU over words."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, model
from ..keras_text import (
    LOOP,
    LOOP_CHOICES,
    PAIRS,
    RECURRENT,
    RECURRENT_CHOICES,
    RECURRENT_SPACE,
    SEQUENCE,
    SEQUENCE_CHOICES,
)

CARD = ModelCard(
    name="bigru",
    title="Bidirectional GRU",
    description="Embedding, bidirectional GRU, GRU, Dropout, Dense; words of the training fold, length buckets, "
    "early stopping on the metric with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Cho et al. 2014, https://arxiv.org/abs/1406.1078",
    default={**SEQUENCE, **LOOP, **RECURRENT},
    presets={"pairs": PAIRS},
    space=RECURRENT_SPACE,
    requires=("keras",),
    extra="keras",
    choices={**SEQUENCE_CHOICES, **LOOP_CHOICES, **RECURRENT_CHOICES},
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..keras_text import sequence_classifier
    from ..networks.recurrent import recurrent

    return sequence_classifier(recurrent("GRU", config), config, context)
