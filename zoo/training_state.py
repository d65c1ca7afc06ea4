"""A torch training between two epochs: what changes in it, as arrays and plain values, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoints import Counters, read_counters, set_counters
from .early_stopping import Best
from .optimizer_state import put_state, state_of
from .recipe import Clock

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer


def changing(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield what training changes: parameters that are not frozen, and buffers."""
    yield from ((name, held) for name, held in network.named_parameters() if held.requires_grad)
    yield from network.named_buffers()


def best_of(network: nn.Module, patience: int) -> Best:
    """Return a holder of the best epoch's weights, on the CPU: those that training changes."""

    def copy() -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in changing(network)}

    def put(weights: Mapping[str, Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, tensor in changing(network):
                tensor.copy_(weights[name])

    return Best(patience, copy, put)


class TrainingState:
    """Weights, optimizer, schedule, the best epoch, lanes' generators, and counters: `checkpoints.State` of a trainer.

    Parameters
    ----------
    draws
        The generators of the lanes.
    counters
        Of the trainer and its data: what else changes from epoch to epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        best: Best,
        clock: Clock,
        draws: Sequence[torch.Generator],
        counters: Sequence[Counters],
    ) -> None:
        self._network, self._optimizer, self._best, self._clock = network, optimizer, best, clock
        self._draws = draws
        self._counters = [(best, ("epoch", "score")), (clock, ("step", "told")), *counters]

    @property
    def subject(self) -> list[Any]:
        """What makes two trainings of one cell unlike: steps, and names, shapes and layouts of the weights."""
        tensors = [[name, str(held.dtype), [*held.shape], [*held.stride()]] for name, held in changing(self._network)]
        return [self._clock.total, len(self._draws), tensors]

    def take(self, done: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return it as arrays and values; the best weights only where they are not the last epoch's."""
        optimizer, groups = state_of(self._optimizer)
        best = self._best.weights if self._best.epoch < done - 1 else None
        parts = {"network": dict(changing(self._network)), "optimizer": optimizer, "best": best or {}}
        arrays = {f"{part}/{name}": _array(tensor) for part, held in parts.items() for name, tensor in held.items()}
        arrays |= {f"lane/{number}": draw.get_state().numpy() for number, draw in enumerate(self._draws)}
        counters = [read_counters(held) for held in self._counters]
        return arrays, {"groups": groups, "schedule": self._clock.schedule.state_dict(), "counters": counters}

    def put(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Become what `take` returned, and report the epochs that were done."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.no_grad():
            for name, held in changing(self._network):
                held.copy_(tensors[f"network/{name}"])
        put_state(self._optimizer, _below("optimizer/", tensors), values["groups"])
        self._clock.schedule.load_state_dict(values["schedule"])
        for number, draw in enumerate(self._draws):
            draw.set_state(tensors[f"lane/{number}"])
        for held, found in zip(self._counters, values["counters"], strict=True):
            set_counters(held, found)
        if self._best.epoch >= 0:
            self._best.weights = _below("best/", tensors) or self._best.copy()
        self._clock.tell_again()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): held for name, held in tensors.items() if name.startswith(prefix)}
