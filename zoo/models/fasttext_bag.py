"""The mean of learnt vectors of words and hashed pairs of words."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, ModelCard, Range, model
from ..keras_text import LOOP, LOOP_CHOICES, PAIRS, SEQUENCE, SEQUENCE_CHOICES

CARD = ModelCard(
    name="fasttext-bag",
    title="Bag of word and bigram vectors (fastText)",
    description="Mean of learnt vectors of words and of hashed pairs of neighbours, Dense; words of the training fold, "
    "length buckets, early stopping on the metric with the best weights restored.",
    modality="text",
    framework="keras",
    citation="Joulin et al. 2016, https://arxiv.org/abs/1607.01759",
    default={
        **SEQUENCE,
        **LOOP,
        "embedding": 64,
        "bigrams": 50000,
        "dropout": 0.2,
        "learning_rate": 1e-2,
        "batch_size": 32,
    },
    presets={"pairs": PAIRS},
    space={
        "embedding": Range(16, 256, log=True),
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
    from ..networks.bag import bag

    return sequence_classifier(bag, config, context, int(config["bigrams"]))
