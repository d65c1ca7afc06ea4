"""How a network is trained: the recipe, its groups of parameters, and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..datasets.support.errors import unknown_name
from .core import Report
from .pace import Pace

if TYPE_CHECKING:
    from torch import nn

OPTIMIZERS, SCHEDULES = ("adamw", "adam"), ("linear", "plateau")
PLATEAU_EPOCHS, PLATEAU_FACTOR = 2, 0.5


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    batch_size, accumulation
        Rows computed at once, and how many such batches make a step.
    warmup
        Steps of linear warm-up; below 1, their share of all steps. The rate then falls linearly to 0.
    patience
        Epochs without a better score after which training stops.
    clip
        The norm that gradients are clipped to; 0 leaves them as they are.
    rates
        Factor on the learning rate by parameter; 1 where it names none.
    undecayed
        Parameters without weight decay, beside biases and normalisations.
    gpus
        How many processes take a step together, a GPU each (on a CPU as well: to try it out).
    number_format
        "fp32", or "bf16": what products are computed in; weights, gradients and losses stay in fp32.
    optimizer
        "adamw", or "adam" (whose weight decay is a part of the gradient).
    schedule
        "linear": `warmup` and decay; "plateau": the rate is halved at the third epoch in a row without a lower
        validation loss (torch's patience of 2, as published).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    accumulation: int = 1
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 2
    clip: float = 1.0
    compile: bool = False
    gpus: int = 1
    rates: Mapping[str, float] | None = None
    undecayed: frozenset[str] = frozenset()
    number_format: str = "fp32"
    optimizer: str = "adamw"
    schedule: str = "linear"

    def __post_init__(self) -> None:
        for what, value, known in (("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES)):
            if value not in known:
                raise unknown_name(what, value, known)


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Return the factor on the learning rate at `step` (from 0) of `total`: linear up, then linear down to 0."""
    rising = warmup if warmup >= 1 else warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return max(0.0, (total - step) / max(1.0, total - rising))


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the optimiser's groups: trainable parameters by rate, biases and normalisations without weight decay."""
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = recipe.learning_rate * (recipe.rates or {}).get(name, 1.0)
            # Every vector is a bias or a normalisation's scale: none is a map that decay would keep small.
            decay = recipe.weight_decay if parameter.ndim > 1 and name not in recipe.undecayed else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": held, "lr": rate, "weight_decay": decay} for (rate, decay), held in groups.items()]


class Clock(Pace):
    """A pace that moves the learning rates as well.

    Attributes
    ----------
    schedule
        torch's scheduler, which moves them.
    """

    def __init__(self, recipe: Recipe, total: int, optimizer: Any, report: Report | None) -> None:
        import torch

        super().__init__(total, report)
        kinds = torch.optim.lr_scheduler
        self._steps = self._epochs = None
        self.schedule: Any
        if recipe.schedule == "plateau":
            self._epochs = kinds.ReduceLROnPlateau(optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS)
            self.schedule = self._epochs
        else:
            self._steps = kinds.LambdaLR(optimizer, lambda step: rate_factor(step, total, recipe.warmup))
            self.schedule = self._steps

    def advance(self) -> None:
        """Count a step, and move rates that fall by the step."""
        if self._steps is not None:
            self._steps.step()
        super().advance()

    def end_epoch(self, loss: float) -> None:
        """Move rates that fall where the loss stands."""
        if self._epochs is not None:
            self._epochs.step(loss)
