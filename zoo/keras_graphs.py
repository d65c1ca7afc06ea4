"""Graphs of a Keras network that tensorflow traces once, whatever the shapes of its batches.

Keras leaves it to tensorflow to find out which dimensions change: it traces a first batch as it is, and again when rows
or tokens first differ. A trace of a recurrent network takes longer than an epoch of a small task. With torch nothing is
traced, and the functions here do nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def trace_prediction(network: Any) -> None:
    """Let ``network.predict_on_batch`` use one graph for all its batches."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda x: network.predict_step((x,)), input_signature=[_read(tf, network)])
        network.predict_function = lambda batches: graph(*next(iter(batches)))


def trace_training(network: Any, targets: np.ndarray) -> None:
    """Let ``network.train_on_batch(x, y, weights)`` use one graph for all batches with `targets` like these.

    The network must be compiled; (rows,) float32 weights are to be given with each batch.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [
            _read(tf, network),
            tf.TensorSpec((None, *targets.shape[1:]), targets.dtype),
            tf.TensorSpec((None,), tf.float32),
        ]
        graph = tf.function(lambda *batch: network.train_step(batch), input_signature=signature)
        network.train_function = lambda batches: graph(*next(iter(batches)))


def _read(tf: Any, network: Any) -> Any:
    return tf.TensorSpec(network.inputs[0].shape, network.inputs[0].dtype)
