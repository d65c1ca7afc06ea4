"""A bidirectional RNN over words."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, model
from ..keras_text import (
    LOOP,
    LOOP_CHOICES,
    PUBLISHED,
    RECURRENT,
    RECURRENT_CHOICES,
    RECURRENT_PAIRS,
    RECURRENT_SPACE,
    SEQUENCE,
    SEQUENCE_CHOICES,
)

CARD = ModelCard(
    name="birnn",
    title="Bidirectional RNN",
    description="Embedding, bidirectional SimpleRNN, SimpleRNN, Dropout, Dense; words of the training fold, "
    "length buckets, early stopping on the metric with the best weights restored.",
    modality="text",
    framework="keras",
    citation="LitCoin NLP challenge report (system 3)",
    # The last state forgets most of 155 words, and in large batches a few thousand texts are too few steps.
    default={**SEQUENCE, **LOOP, **RECURRENT, "pooling": "max", "learning_rate": 3e-3, "batch_size": 32, "epochs": 40},
    presets={"published": PUBLISHED, "pairs": RECURRENT_PAIRS},
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

    return sequence_classifier(recurrent("SimpleRNN", config), config, context)
