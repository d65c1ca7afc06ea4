"""A convolutional network over words in Keras."""

from __future__ import annotations

from typing import Any

import keras

from ..core import Config

ops: Any = keras.ops


def convolution(inputs: int, outputs: int, activation: str, config: Config) -> Any:
    """Return Kim's (2014, https://arxiv.org/abs/1408.5882) network, (batch, tokens) word numbers -> (batch, outputs).

    ``filters`` of 3, 4 and 5 words each, the highest answer of each over the text, Dropout(``dropout``), Dense; word
    vectors of ``embedding`` dimensions are learnt (his CNN-rand). Zeros are padding, which no filter answers to.
    """
    words = keras.Input((None,), dtype="int32")
    real = ops.expand_dims(ops.cast(ops.not_equal(words, 0), "float32"), -1)
    embedded = keras.layers.Embedding(inputs, int(config["embedding"]))(words) * real
    highest = []
    for size in (3, 4, 5):
        # ReLU answers are at least 0: an answer over padding, made 0, is never higher than a real one.
        found = keras.layers.Conv1D(int(config["filters"]), size, padding="same", activation="relu")(embedded)
        highest.append(keras.layers.GlobalMaxPooling1D()(found * real))
    dropped = keras.layers.Dropout(float(config["dropout"]))(keras.layers.Concatenate()(highest))
    return keras.Model(words, keras.layers.Dense(outputs, activation=activation)(dropped))
