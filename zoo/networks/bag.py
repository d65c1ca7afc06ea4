"""A bag of learnt word vectors in Keras."""

from __future__ import annotations

from typing import Any

import keras

from ..core import Config

ops: Any = keras.ops


def bag(inputs: int, outputs: int, activation: str, config: Config) -> Any:
    """Return the network of Joulin et al. (2016, https://arxiv.org/abs/1607.01759).

    (batch, tokens) numbers of words and hashed pairs of words -> (batch, outputs): the mean of their vectors of
    ``embedding`` dimensions, Dropout(``dropout``), Dense. Zeros are padding and do not count.
    """
    words = keras.Input((None,), dtype="int32")
    real = ops.expand_dims(ops.cast(ops.not_equal(words, 0), "float32"), -1)
    embedded = keras.layers.Embedding(inputs, int(config["embedding"]))(words)
    mean = ops.sum(embedded * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1.0)
    dropped = keras.layers.Dropout(float(config["dropout"]))(mean)
    return keras.Model(words, keras.layers.Dense(outputs, activation=activation)(dropped))
