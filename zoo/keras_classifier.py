"""The training loop that Keras networks share: a scikit-learn style classifier around a compiled network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import Checkpoint
from .class_weights import class_weights, positive_weights
from .core import Config, Context, Report, Scorer
from .early_stopping import Best, require_finite
from .keras_graphs import trace_prediction, trace_training
from .keras_inputs import Batches, Inputs
from .keras_state import KerasState
from .memory import Halving
from .pace import Pace
from .ragged import buckets, cut

NETWORK = "network.keras"
ASKED, TOKENS = 256, 65_536
"""Rows, and tokens with their padding, that are answered at once at most."""


class KerasClassifier:
    """A Keras network trained in batches of like length, the weights of the best epoch kept.

    Parameters
    ----------
    network
        ``network(width, outputs, activation, config)`` -> an uncompiled ``keras.Model`` of probabilities.
    config
        Reads the settings of `keras_text.LOOP`; the rest is the network's.
    context
        Labels and kind choose the head: sigmoid with binary, or softmax with categorical cross-entropy.
    inputs
        Turns raw texts into what the network reads.
    """

    def __init__(
        self, network: Callable[[int, int, str, Config], Any], config: Config, context: Context, inputs: Inputs
    ) -> None:
        self._network, self._config, self._context, self._inputs = network, config, context, inputs
        self._multilabel = context.task.kind == "multilabel"
        self._fitted: Any = None
        self._training, self._asking = Halving("trained on"), Halving("answered")
        self._resumed: Sequence[str] = ()

    @property
    def notes_(self) -> tuple[str, ...]:
        """What is to be said of the fit and of answers since."""
        return (*self._inputs.notes, *self._resumed, *self._training.notes, *self._asking.notes)

    def fit(
        self,
        X: Any,
        y: np.ndarray,
        *,
        X_val: Any,
        y_val: np.ndarray,
        seed: int,
        scorer: Scorer,
        report: Report | None = None,
    ) -> KerasClassifier:
        """Fit on (n,) raw inputs and their targets.

        Raises
        ------
        FloatingPointError
            If the loss is not finite; the message names epoch and step.
        """
        import keras

        keras.utils.set_random_seed(seed)
        self._training, self._asking = Halving("trained on"), Halving("answered")
        rows, validation = self._inputs.fit(X), self._inputs.transform(X_val)
        self._fitted = self._compiled(y)
        weights = self._row_weights(y)
        rng = np.random.default_rng(seed)
        targets = y.astype(np.float32) if self._multilabel else y
        trace_training(self._fitted, targets)
        trace_prediction(self._fitted)
        patience = int(self._config["patience"])
        best = Best(patience, self._fitted.get_weights, self._fitted.set_weights) if patience else None
        epochs = int(self._config["epochs"])
        pace = Pace(epochs * -(-len(targets) // int(self._config["batch_size"])), report)
        kept = self._checkpoint(best, pace, rng, epochs)
        for epoch in range(kept.resume() + 1, epochs + 1):
            loss = self._train((rows, targets, weights), rng, epoch, pace)
            answer = self._answer(validation)
            values = {"loss": loss, "val_loss": log_loss(y_val, answer), "val_score": float(scorer(y_val, answer))}
            pace.tell(values)
            watched = values["val_score"] if self._config["monitor"] == "metric" else -values["val_loss"]
            stops = best is not None and best.stops(epoch, watched)
            kept.keep(epoch, over=stops)
            if stops:
                break
        if best is not None:
            best.restore()
        self._resumed = kept.notes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (n, labels) float32 probabilities of (n,) raw inputs."""
        return self._answer(self._inputs.transform(X))

    @property
    def n_parameters(self) -> int:
        """The number of weights, an encoder's included."""
        return self._fitted.count_params() + self._inputs.n_parameters

    def save(self, folder: Path) -> None:
        """Write the network in Keras's own format, beside what its inputs learnt."""
        self._fitted.save(folder / NETWORK)
        self._inputs.save(folder)

    def load(self, folder: Path) -> KerasClassifier:
        """Read what `save` wrote; nothing in it runs code."""
        import keras

        self._fitted = keras.saving.load_model(folder / NETWORK, compile=False, safe_mode=True)
        self._fitted.jit_compile = False
        trace_prediction(self._fitted)
        self._inputs.load(folder)
        return self

    def _checkpoint(self, best: Best | None, pace: Pace, rng: np.random.Generator, epochs: int) -> Checkpoint:
        counters = [(halving, ("rows", "notes")) for halving in (self._training, self._asking)]
        state = KerasState(self._fitted, best, pace, rng, counters)
        place = self._context.checkpoints
        subject = [] if place is None else [self._context.device, self._context.threads, state.subject]
        return Checkpoint(place, state, subject, epochs)

    @property
    def _balanced(self) -> bool:
        return self._config["class_weight"] == "balanced"

    def _row_weights(self, y: np.ndarray) -> np.ndarray:
        """Return (n,) float32 weights of rows in the loss; those of labels are in the loss itself."""
        if self._multilabel or not self._balanced:
            return np.ones(len(y), np.float32)
        return class_weights(y, len(self._context.task.labels))[y]

    def _compiled(self, y: np.ndarray) -> Any:
        import keras

        activation = "sigmoid" if self._multilabel else "softmax"
        network = self._network(self._inputs.width, len(self._context.task.labels), activation, self._config)
        loss: Any = "binary_crossentropy" if self._multilabel else "sparse_categorical_crossentropy"
        if self._multilabel and self._balanced:
            loss = _weighted_binary(positive_weights(y))
        rate, decay = float(self._config["learning_rate"]), float(self._config["weight_decay"])
        optimizer = keras.optimizers.AdamW(learning_rate=rate, weight_decay=decay)
        # Variables made within the first step would have tensorflow trace that step twice.
        optimizer.build(network.trainable_variables)
        # XLA takes 3 times as long a step for recurrent networks on this CPU, and seconds to compile.
        network.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        return network

    def _train(
        self, given: tuple[Batches, np.ndarray, np.ndarray], rng: np.random.Generator, epoch: int, pace: Pace
    ) -> float:
        """Train for one epoch on rows, their targets and their weights; return the mean loss of a row."""
        rows, targets, weights = given

        def taken(batch: np.ndarray) -> float:
            # Some versions of Keras answer with the mean since the metrics were last reset, others with the batch's.
            self._fitted.reset_metrics()
            found = self._fitted.train_on_batch(rows.batch(batch), targets[batch], weights[batch])
            return float(np.ravel(found)[0])

        total = 0.0
        plan = buckets(rows.lengths, int(self._config["batch_size"]), rng)
        for step, (batch, loss) in enumerate(self._training.each(plan, taken), start=1):
            require_finite(loss, epoch, step)
            total += loss * len(batch)
            pace.advance()
        return total / len(targets)

    def _answer(self, rows: Batches) -> np.ndarray:
        found = np.zeros((len(rows.lengths), len(self._context.task.labels)), np.float32)
        plan = cut(np.argsort(-rows.lengths, kind="stable"), rows.lengths, ASKED, TOKENS)
        for batch, answer in self._asking.each(plan, lambda batch: self._fitted.predict_on_batch(rows.batch(batch))):
            found[batch] = answer
        return found


def log_loss(y: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean cross-entropy of (n, labels) probabilities: over rows, and over labels where there are many."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    if y.ndim == 1:
        return float(-np.log(p[np.arange(len(y)), y]).mean())
    return float(-np.where(y > 0, np.log(p), np.log1p(-p)).mean())


def _weighted_binary(weights: np.ndarray) -> Callable[[Any, Any], Any]:
    """Return binary cross-entropy whose positives weigh (labels,) `weights`."""
    import keras

    ops: Any = keras.ops  # typed as if they returned None
    scale = ops.convert_to_tensor(weights)

    def weighted_binary_crossentropy(y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return -ops.mean(scale * y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p), axis=-1)

    return weighted_binary_crossentropy
