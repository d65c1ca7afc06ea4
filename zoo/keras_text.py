"""Settings that the Keras models share, and the builder of those that read a text word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .core import Choice, Config, Context, Range, Scalar
from .text import CLEANINGS

if TYPE_CHECKING:
    from .keras_classifier import KerasClassifier

SEQUENCE: dict[str, Scalar] = {
    "cleaning": "none",
    "vocabulary": 20000,
    "min_count": 3,
    "max_length": 256,
    "pair_types": True,
    "padding": "buckets",
}
"""Settings of `keras_inputs.Words`; `settings.MEANINGS` says what each does.

Of a text longer than ``max_length`` the words nearest to an entity marker are read, else the first. ``padding=buckets``
changes nothing; with ``longest`` every text is padded to the longest of the training fold, in front as Keras's
``pad_sequences`` does by default, and recurrent networks read the padding.
"""

SEQUENCE_CHOICES: dict[str, tuple[Scalar, ...]] = {"cleaning": CLEANINGS, "padding": ("buckets", "longest")}

LOOP: dict[str, Scalar] = {
    "learning_rate": 2e-3,
    "weight_decay": 0.0,
    "batch_size": 64,
    "epochs": 20,
    "patience": 4,
    "monitor": "metric",
    "class_weight": "none",
    "backend": "tensorflow",
}
"""Settings of `keras_classifier.KerasClassifier`; `settings.MEANINGS` says what each does.

With a ``patience`` of 0 the last epoch is kept, else the best. ``class_weight=balanced`` is n / (classes x count) for
each row (multi-class), negatives over positives for each label's positives (multi-label), by the training fold. The
harness starts the cell in a process of the ``backend``.
"""

LOOP_CHOICES: dict[str, tuple[Scalar, ...]] = {
    "monitor": ("metric", "loss"),
    "class_weight": ("none", "balanced"),
    "backend": ("tensorflow", "torch"),
}

RECURRENT: dict[str, Scalar] = {
    "embedding": 64,
    "units": 32,
    "dropout": 0.5,
    "embedding_dropout": 0.3,
    "pooling": "last",
    "learning_rate": 3e-3,
    "batch_size": 128,
}
"""Sizes of the recurrent networks: dimensions of a word, units of each direction and of the second layer.

``pooling`` is what the second layer's states become: the last one, or their mean or maximum over all words. A step
costs little more for 128 rows than for 64: the loop over the words is what takes the time.
"""

RECURRENT_CHOICES: dict[str, tuple[Scalar, ...]] = {"pooling": ("last", "mean", "max")}

PUBLISHED: Config = {
    "vocabulary": 0,
    "min_count": 1,
    "max_length": 0,
    "pair_types": False,
    "padding": "longest",
    "embedding": 128,
    "units": 64,
    "embedding_dropout": 0.0,
    "pooling": "last",
    "learning_rate": 1e-3,
    "batch_size": 32,
    "epochs": 2,
    "patience": 0,
}
"""System 3's run: every word, every text padded to the longest, batches of 32, Adam, no early stopping.

Its summaries were printed before the networks were built and show no sizes: those here are ours.
"""

PAIRS: Config = {"max_length": 96, "min_count": 5}
"""For pair tasks: the words nearest to the two entities, and none that only a few training texts hold."""

RECURRENT_PAIRS: Config = {**RECURRENT, "epochs": LOOP["epochs"], **PAIRS}
"""The same for recurrent networks: the last state, in larger steps."""

RECURRENT_SPACE: dict[str, Range | Choice] = {
    "embedding": Range(32, 256, log=True),
    "units": Range(16, 128, log=True),
    "dropout": Range(0.0, 0.6),
    "embedding_dropout": Range(0.0, 0.6),
    "pooling": Choice(RECURRENT_CHOICES["pooling"]),
    "learning_rate": Range(1e-4, 3e-2, log=True),
}

MLP: Config = {
    "layers": 3,
    "units": 384,
    "dropout": 0.3,
    "learning_rate": 5e-4,
    "weight_decay": 0.004,
    "batch_size": 64,
    "epochs": 150,
    "patience": 10,
    "monitor": "loss",
}
"""System 4's multilayer perceptron, as published; the weight decay is that of Keras's AdamW, which it left alone."""

MLP_SPACE: dict[str, Range | Choice] = {
    "layers": Range(1, 4),
    "units": Range(128, 1024, log=True),
    "dropout": Range(0.0, 0.6),
    "learning_rate": Range(1e-5, 1e-2, log=True),
}


def sequence_classifier(
    network: Callable[[int, int, str, Config], Any], config: Config, context: Context, bigrams: int = 0
) -> KerasClassifier:
    """Return the classifier whose `network` reads rows of word numbers."""
    from .keras_classifier import KerasClassifier
    from .keras_inputs import Words

    return KerasClassifier(network, config, context, Words(config, bigrams))
