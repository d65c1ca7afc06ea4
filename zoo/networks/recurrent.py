"""Recurrent networks over words in Keras: Embedding, bidirectional layer, recurrent layer, Dropout, Dense.

Two forms of the same layers. One is made of Keras's own. In the other padding changes nothing, and it is faster: inputs
are projected by one product for all tokens, outside of the loop over them, and states are zero until the first word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from ...datasets.support.errors import unknown_name
from ..core import Config

# Keras types what an operation returns as None, its overloads for symbolic tensors apart.
ops: Any = keras.ops

CELLS = {"LSTM": (4, 2, 1), "GRU": (3, 1, 1), "SimpleRNN": (1, 1, 4)}
"""Gates and states of each kind of recurrent layer, and words read in one round of the loop over a text.

A round has a cost of its own: four words in each make an Elman network 1.5 times as fast. The others gain a tenth, less
than tensorflow then takes longer to trace them.
"""


@keras.saving.register_keras_serializable(package="zoobench")
class Recurrence(keras.layers.Layer):
    """Some steps of a recurrent layer whose inputs are projected already: a cell for ``keras.layers.RNN``.

    LSTM of Hochreiter and Schmidhuber (1997) with Gers's forget gate, GRU of Cho et al. (2014) with the reset gate
    after the product as in cuDNN, or Elman's (1990) network with tanh.

    Parameters
    ----------
    kind
        One of `CELLS`.
    units
        Numbers in a state.
    steps
        Words read in a call: the loop over a text has a cost of its own, which so many words share.
    """

    def __init__(self, kind: str, units: int, steps: int, **named: Any) -> None:
        super().__init__(**named)
        self.kind, self.units, self.steps = kind, units, steps
        self.gates, states, _ = CELLS[kind]
        self.state_size, self.output_size = [units] * states, units * steps

    def build(self, input_shape: Any) -> None:
        """Add the (units, gates x units) recurrent weights."""
        del input_shape
        self.weight = self.add_weight(
            shape=(self.units, self.gates * self.units), initializer="orthogonal", name="recurrent_kernel"
        )

    def call(self, inputs: Any, states: Sequence[Any], training: bool = False) -> tuple[Any, list[Any]]:
        """Return (batch, steps x units) outputs and the states after (batch, steps x (gates x units + 1)) inputs.

        The last `steps` inputs are 1 for a word and 0 for padding, where the outputs are 0. That they would be without
        them, from 0 on; but their gradient would grow in each step of padding, where nothing saturates, and overflow.
        """
        del training
        step, outputs = {"SimpleRNN": _elman, "GRU": _gru, "LSTM": _lstm}[self.kind], []
        values, real = ops.split(inputs, [self.steps * self.gates * self.units], axis=1)
        for given, word in zip(*(ops.split(each, self.steps, axis=1) for each in (values, real)), strict=True):
            output, *others = step(given, ops.matmul(states[0], self.weight), list(states))
            states = [output * word, *others]  # an LSTM's other state fades by itself
            outputs.append(states[0])
        return ops.concatenate(outputs, axis=1), list(states)

    def get_config(self) -> dict[str, Any]:
        """Return what `__init__` takes."""
        return {**super().get_config(), "kind": self.kind, "units": self.units, "steps": self.steps}


def _elman(values: Any, past: Any, states: list[Any]) -> list[Any]:
    del states
    return [ops.tanh(values + past)]


def _gru(values: Any, past: Any, states: list[Any]) -> list[Any]:
    update, reset, new = ops.split(values, 3, axis=1)
    past_update, past_reset, past_new = ops.split(past, 3, axis=1)
    new = ops.tanh(new + ops.sigmoid(reset + past_reset) * past_new)
    return [new + ops.sigmoid(update + past_update) * (states[0] - new)]


def _lstm(values: Any, past: Any, states: list[Any]) -> list[Any]:
    taken, kept, new, shown = ops.split(values + past, 4, axis=1)
    # The 1 is Keras's `unit_forget_bias` (Jozefowicz et al. 2015): a new network remembers.
    cell = ops.sigmoid(kept + 1.0) * states[1] + ops.sigmoid(taken) * ops.tanh(new)
    return [ops.sigmoid(shown) * ops.tanh(cell), cell]


def _last(states: Any, real: Any) -> Any:
    del real
    return states[:, -1]


def _mean(states: Any, real: Any) -> Any:
    return ops.sum(states * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1.0)


def _max(states: Any, real: Any) -> Any:
    # No state is below -1: padding is never the highest.
    return ops.max(states + (real - 1) * 2, axis=1)


POOLINGS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "last": (_last, None),
    "mean": (_mean, keras.layers.GlobalAveragePooling1D),
    "max": (_max, keras.layers.GlobalMaxPooling1D),
}
"""(batch, tokens, units) states and (batch, tokens, 1) ones for words -> (batch, units); Keras's layer without mask."""


def recurrent(kind: str, config: Config) -> Callable[[int, int, str, Config], Any]:
    """Return the builder of the network for the ``padding`` of `config`: read like words, or not at all."""
    if config["pooling"] not in POOLINGS:
        raise unknown_name("pooling", str(config["pooling"]), POOLINGS)
    return partial(_stacked if config["padding"] == "longest" else _hoisted, kind)


def _stacked(kind: str, inputs: int, outputs: int, activation: str, config: Config) -> Any:
    """Return (batch, tokens) word numbers -> (batch, outputs).

    `config` gives ``embedding`` dimensions, ``embedding_dropout``, the share of dimensions dropped of all words of a
    text in training, ``units`` of each direction and of the second layer, ``pooling`` of the second layer's states
    and ``dropout``.
    """
    layer, pooling = getattr(keras.layers, kind), str(config["pooling"])
    units, dropped = int(config["units"]), float(config["embedding_dropout"])
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(inputs, int(config["embedding"])),
            *([keras.layers.SpatialDropout1D(dropped)] if dropped else []),
            keras.layers.Bidirectional(layer(units, return_sequences=True)),
            layer(units, return_sequences=pooling != "last"),
            *([] if pooling == "last" else [POOLINGS[pooling][1]()]),
            keras.layers.Dropout(float(config["dropout"])),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )


def _hoisted(kind: str, inputs: int, outputs: int, activation: str, config: Config) -> Any:
    """Return the same as `_stacked`, blind to zeros before the words; a multiple of 4 tokens."""
    words = keras.Input((None,), dtype="int32")
    real = ops.expand_dims(ops.cast(ops.not_equal(words, 0), "float32"), -1)
    embedded = keras.layers.Embedding(inputs, int(config["embedding"]))(words)
    embedded = keras.layers.SpatialDropout1D(float(config["embedding_dropout"]))(embedded)

    def read(name: str, values: Any, *, backwards: bool = False) -> Any:
        units, (gates, _, steps) = int(config["units"]), CELLS[kind]
        projected = keras.layers.Dense(gates * units, name=f"{name}_inputs")(values) * real
        given = [ops.flip(each, 1) if backwards else each for each in (projected, real)]
        sizes = steps * gates * units, steps
        parts = [keras.layers.Reshape((-1, size))(each) for each, size in zip(given, sizes, strict=True)]
        blocks = keras.layers.Concatenate()(parts)
        layer = keras.layers.RNN(Recurrence(kind, units, steps), return_sequences=True, name=name)
        found = keras.layers.Reshape((-1, units))(layer(blocks))
        return ops.flip(found, 1) if backwards else found

    both = keras.layers.Concatenate()([read("forwards", embedded), read("backwards", embedded, backwards=True)])
    pooled = POOLINGS[str(config["pooling"])][0](read("second", both), real)
    dropped = keras.layers.Dropout(float(config["dropout"]))(pooled)
    return keras.Model(words, keras.layers.Dense(outputs, activation=activation)(dropped))
