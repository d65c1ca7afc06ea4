"""A convolutional network over words."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, model
from ..keras_text import LOOP, LOOP_CHOICES, PAIRS, SEQUENCE, SEQUENCE_CHOICES

CARD = ModelCard(
    name="kim-cnn",
    title="Convolutional network (Kim)",
    description="Learnt word vectors, filters of 3, 4 and 5 words, maximum over the text, Dropout, Dense; words of the "
    "training fold, length buckets, early stopping on the metric with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Kim 2014, https://arxiv.org/abs/1408.5882",
    default={**SEQUENCE, **LOOP, "embedding": 128, "filters": 100, "dropout": 0.5},
    presets={"pairs": PAIRS},
    space={
        "embedding": Range(32, 300, log=True),
        "filters": Range(32, 256, log=True),
        "dropout": Range(0.0, 0.6),
        "learning_rate": Range(1e-4, 3e-2, log=True),
    },
    requires=("keras",),
    extra="keras",
    choices={**SEQUENCE_CHOICES, **LOOP_CHOICES},
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..keras_text import sequence_classifier
    from ..networks.convolution import convolution

    return sequence_classifier(convolution, config, context)
