"""A bidirectional RNN over words."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, model
from ..keras_text import (
    LOOP,
    LOOP_CHOICES,
    PAIRS,
    PUBLISHED,
    RECURRENT,
    RECURRENT_CHOICES,
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
    default={**SEQUENCE, **LOOP, **RECURRENT},
    presets={"published": PUBLISHED, "pairs": PAIRS},
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
