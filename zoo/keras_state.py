"""A Keras training between two epochs: what changes in it, as arrays and plain values, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .checkpoints import Counters, read_counters, set_counters
from .early_stopping import Best
from .pace import Pace


class KerasState:
    """Weights, optimizer, the best epoch, generators, and counters: `checkpoints.State` of a Keras network.

    Parameters
    ----------
    network
        Compiled; the seeds of its layers are among its variables.
    best
        Of epochs counted from 1; None where the last epoch is kept.
    rng
        What batches are drawn with.
    counters
        What else changes from epoch to epoch.
    """

    def __init__(
        self, network: Any, best: Best | None, pace: Pace, rng: np.random.Generator, counters: Sequence[Counters]
    ) -> None:
        self._network, self._best, self._rng, self._pace = network, best, rng, pace
        more = [] if best is None else [(best, ("epoch", "score"))]
        self._counters = [(pace, ("step", "told")), *more, *counters]

    @property
    def _variables(self) -> dict[str, Any]:
        parts = {"network": self._network.variables, "optimizer": self._network.optimizer.variables}
        return {f"{part}/{number}": each for part, held in parts.items() for number, each in enumerate(held)}

    @property
    def subject(self) -> list[Any]:
        """What makes two trainings of one cell unlike: Keras, its backend, and names and shapes of the variables."""
        import keras

        shapes = [[name, str(each.dtype), [*each.shape]] for name, each in self._variables.items()]
        return [keras.__version__, keras.backend.backend(), shapes]

    def take(self, done: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and values; the best weights only where they are not the last epoch's."""
        import keras

        arrays = {name: np.asarray(keras.ops.convert_to_numpy(each)) for name, each in self._variables.items()}
        if self._best is not None and self._best.epoch < done:
            arrays |= {f"best/{number}": array for number, array in enumerate(self._best.weights)}
        return arrays, {
            "drawn": self._rng.bit_generator.state,
            "counters": [read_counters(held) for held in self._counters],
        }

    def put(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Become what `take` returned, and report the epochs that were done."""
        for name, each in self._variables.items():
            each.assign(arrays[name])
        self._rng.bit_generator.state = values["drawn"]
        for held, found in zip(self._counters, values["counters"], strict=True):
            set_counters(held, found)
        if self._best is not None:
            count = sum(name.startswith("best/") for name in arrays)
            self._best.weights = [arrays[f"best/{number}"] for number in range(count)] or self._best.copy()
        self._pace.tell_again()
