"""A multilayer perceptron in Keras."""

from __future__ import annotations

from typing import Any

from ..core import Config


def mlp(inputs: int, outputs: int, activation: str, config: Config) -> Any:
    """Return the network (batch, inputs) -> (batch, outputs).

    `config` gives ``layers`` blocks of Dense(``units``, ReLU) and Dropout(``dropout``), and an output layer with
    `activation`.
    """
    import keras

    network = keras.Sequential([keras.Input((inputs,))])
    for _ in range(int(config["layers"])):
        network.add(keras.layers.Dense(int(config["units"]), activation="relu"))
        network.add(keras.layers.Dropout(float(config["dropout"])))
    network.add(keras.layers.Dense(outputs, activation=activation))
    return network
