"""The training loop that Keras networks share: a scikit-learn style classifier around a compiled network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Config, Context, Report

if TYPE_CHECKING:
    from .encoders import FrozenEncoder

NETWORK = "network.keras"


class KerasClassifier:
    """A Keras network on (n, d) float32 inputs, trained with early stopping on the validation loss.

    Parameters
    ----------
    network
        ``network(inputs, outputs, activation, config)`` -> an uncompiled ``keras.Model``.
    config
        Reads ``batch_size``, ``epochs``, ``patience`` and ``learning_rate``; the rest is the network's.
    context
        Labels and kind choose the head: sigmoid with binary, or softmax with categorical cross-entropy.
    encoder
        Turns raw inputs into vectors; None takes vectors as they are.
    """

    def __init__(
        self,
        network: Callable[[int, int, str, Config], Any],
        config: Config,
        context: Context,
        encoder: FrozenEncoder | None = None,
    ) -> None:
        self._network, self._config, self._context, self._encoder = network, config, context, encoder
        self._fitted: Any = None

    def fit(
        self,
        X: Any,
        y: np.ndarray,
        *,
        X_val: Any,
        y_val: np.ndarray,
        seed: int,
        report: Report | None = None,
    ) -> KerasClassifier:
        """Fit on (n,) raw inputs and their targets; the weights of the best validation loss are kept."""
        import keras

        keras.utils.set_random_seed(seed)
        multilabel = self._context.task.kind == "multilabel"
        inputs, validation = self._vectors(X), self._vectors(X_val)
        activation = "sigmoid" if multilabel else "softmax"
        network = self._network(inputs.shape[1], len(self._context.task.labels), activation, self._config)
        network.compile(
            optimizer=keras.optimizers.AdamW(learning_rate=float(self._config["learning_rate"])),
            loss="binary_crossentropy" if multilabel else "sparse_categorical_crossentropy",
        )
        epochs = int(self._config["epochs"])
        stop = keras.callbacks.EarlyStopping(patience=int(self._config["patience"]), restore_best_weights=True)
        targets, wanted = (y, y_val) if not multilabel else (y.astype(np.float32), y_val.astype(np.float32))
        network.fit(
            inputs,
            targets,
            validation_data=(validation, wanted),
            batch_size=int(self._config["batch_size"]),
            epochs=epochs,
            callbacks=[stop, *_reporting(report, epochs)],
            verbose=0,
        )
        self._fitted = network
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, labels) float32 probabilities of (n,) raw inputs."""
        import keras

        vectors = self._vectors(X)
        # Calling the network directly: `predict` adds tens of milliseconds to a single example.
        parts = [
            np.asarray(keras.ops.convert_to_numpy(self._fitted(vectors[first : first + 1024], training=False)))
            for first in range(0, len(vectors), 1024)
        ]
        return np.concatenate(parts).astype(np.float32)

    @property
    def n_parameters(self) -> int:
        """The number of weights, the encoder's included."""
        return self._fitted.count_params() + (self._encoder.n_parameters if self._encoder else 0)

    def save(self, folder: Path) -> None:
        """Write the network in Keras's own format."""
        self._fitted.save(folder / NETWORK)

    def load(self, folder: Path) -> KerasClassifier:
        """Read what `save` wrote; nothing in it runs code."""
        import keras

        self._fitted = keras.saving.load_model(folder / NETWORK, compile=False, safe_mode=True)
        return self

    def _vectors(self, X: Any) -> np.ndarray:
        return self._encoder.transform(X) if self._encoder else np.asarray(X, dtype=np.float32)


def _reporting(report: Report | None, epochs: int) -> list[Any]:
    import keras

    if report is None:
        return []

    def on_epoch_end(epoch: int, logs: Mapping[str, float] | None = None) -> None:
        report(epoch + 1, epochs, **{name: float(value) for name, value in (logs or {}).items()})

    return [keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)]
