"""The training loop of the zoo's torch networks: device, number format, schedule, memory, early stopping."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..datasets.core import Kind
from .checkpoints import Checkpoint, Checkpoints, Counters
from .core import Report
from .crew import Crew, crew_of
from .early_stopping import Best, require_finite
from .import_order import without_triton_beside_tensorflow
from .lanes import dealt, lanes, one_by_one
from .losses import Loss
from .memory import Halving, out_of_memory
from .recipe import Clock, Recipe, parameter_groups
from .training_state import TrainingState, best_of

if TYPE_CHECKING:
    from torch import Tensor, nn

LOOK_EVERY = 20
"""On a GPU the losses are looked at every so many steps: each look waits for the device."""


class Data(Protocol):
    """The rows that a network is trained on or asked about: what differs between texts and images."""

    targets: Tensor
    """(n, labels) float32 0/1, or (n,) int64 class numbers; empty where there are none."""
    counts: Tensor | None
    """(n,) float32: how much each row counts in the loss (a text of three windows: a third each); None is 1 each."""

    def plan(self, epoch: int, size: int) -> Sequence[np.ndarray]:
        """Return the row numbers of an epoch's batches, `size` rows each; it may make the epoch's rows anew."""
        ...

    def parts(self, rows: np.ndarray, size: int) -> Sequence[np.ndarray]:
        """Cut the rows of a batch into what is computed at once: `size` rows at most, fewer where that is faster."""
        ...

    def load(self, rows: np.ndarray) -> Mapping[str, Tensor]:
        """Return the network's keyword arguments for some rows, on the CPU."""
        ...


@contextlib.contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch's generators for a block and leave them as they were."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def computing_in(number_format: str, device: str) -> Iterator[None]:
    """Compute products in "bf16" where that is asked for, as they come otherwise."""
    import torch

    with torch.autocast(device, torch.bfloat16, enabled=number_format == "bf16"):
        yield


def moved(inputs: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    """Return `inputs` on the device; a copy to a GPU runs beside its computation, from pinned memory."""
    if device == "cpu":
        return dict(inputs)
    return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in inputs.items()}


class Trainer:
    """Trains one network.

    Parameters
    ----------
    loss
        One for all epochs, or one for each of as many cycles, which share the epochs equally.
    device
        "cpu" or "cuda".
    threads
        How many parts of a step are computed side by side, on a CPU. For networks whose rows do not depend on one
        another in training: batch normalisation does not qualify.

    Attributes
    ----------
    notes
        What a reader of the scores should know: batches that did not fit, epochs that were not needed.
    losses
        The mean loss of each step so far.
    optimizer
        With its state after the last step; the weights may be an earlier epoch's.
    """

    def __init__(
        self, network: nn.Module, loss: Loss | Sequence[Loss], recipe: Recipe, device: str, threads: int = 1
    ) -> None:
        without_triton_beside_tensorflow()
        import torch

        from .networks.dropout import quicken

        self.network, self.recipe, self.device = network.to(device), recipe, device
        self.losses_of_cycles = (loss,) if isinstance(loss, Loss) else tuple(loss)
        self.loss = self.losses_of_cycles[0]
        self._crew = Crew()
        self.notes, self.losses = list[str](), list[float]()
        # A GPU takes a step's rows at once where they fit; on a CPU smaller parts stay in its caches.
        self.rows_at_once = recipe.batch_size * (recipe.accumulation if device == "cuda" else 1)
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(parameter_groups(network, recipe), fused=True)
        self._threads = threads if device == "cpu" and not recipe.compile else 1  # its compiler has threads of its own
        if device == "cpu" and not recipe.compile:
            quicken(network)
        self._draws = [torch.Generator().manual_seed(torch.initial_seed() + lane) for lane in range(self._threads)]
        self._each, self._lanes_proven = one_by_one, False
        self._forward = torch.compile(network, dynamic=True) if recipe.compile else network
        self._checkpoints: Checkpoints | None = None
        self._also: tuple[Counters, ...] = ()

    def keep_in(self, checkpoints: Checkpoints | None, *also: Counters) -> None:
        """Keep each epoch of `fit` in `checkpoints`, and go on from there if it was begun before; None keeps nothing.

        Parameters
        ----------
        also
            What of the caller's changes from epoch to epoch.
        """
        self._checkpoints, self._also = checkpoints, also
        if checkpoints is not None and self.recipe.gpus > 1:
            self._checkpoints = None  # the helpers' generators are theirs
            self.notes.append(f"no checkpoint: with gpus={self.recipe.gpus} a training does not go on")

    def fit(
        self,
        data: Data,
        validate: Callable[[], float] | None = None,
        report: Report | None = None,
        watch: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        """Train on `data`; with `validate` (higher is better) stop early and restore the best epoch's weights.

        Parameters
        ----------
        watch
            Tells more of an epoch, asked after `validate`; of it a schedule "plateau" reads ``val_loss`` (without it,
            the training's loss).

        Raises
        ------
        FloatingPointError
            If a loss is not finite; it names the epoch and the step.
        """
        with crew_of(self, data, self.recipe.gpus) as crew:
            self.train(data, crew, validate, report, watch)

    def train(
        self,
        data: Data,
        crew: Crew,
        validate: Callable[[], float] | None = None,
        report: Report | None = None,
        watch: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        """Do a process's part of `fit`."""
        self._crew, recipe = crew, self.recipe
        size = recipe.batch_size * recipe.accumulation
        plan = data.plan(0, size)
        best, stops = best_of(self.network, recipe.patience), False
        clock = Clock(recipe, recipe.epochs * len(plan), self.optimizer, report)
        kept = self._checkpoint(best, clock)
        done = kept.resume()
        if 0 < done < recipe.epochs:
            plan = data.plan(done, size)
        for epoch in range(done, recipe.epochs):
            self.loss = self.losses_of_cycles[epoch * len(self.losses_of_cycles) // recipe.epochs]
            with lanes(self._threads) as self._each:
                values = {"loss": self._epoch(epoch, plan, data, clock)}
            if validate is not None:
                values["score"] = validate()
                stops = best.stops(epoch, values["score"])
            if watch is not None:
                values |= watch()
            clock.tell(values)
            clock.end_epoch(values.get("val_loss", values["loss"]))
            stops = crew.follow(stops, self.optimizer, self.device)
            if stops and epoch + 1 < recipe.epochs:
                self.notes.append(
                    f"stopped after epoch {epoch + 1} of {recipe.epochs}: none better than {best.epoch + 1}"
                )
            kept.keep(epoch + 1, over=stops)
            if stops or epoch + 1 == recipe.epochs:
                break
            plan = data.plan(epoch + 1, size)
        best.restore()
        self.notes += kept.notes

    def _checkpoint(self, best: Best, clock: Clock) -> Checkpoint:
        import torch

        mine = (self, ("losses", "notes", "rows_at_once", "_threads", "_lanes_proven"))
        state = TrainingState(self.network, self.optimizer, best, clock, self._draws, (mine, *self._also))
        place = [torch.__version__, self.device, self.recipe.number_format, torch.get_num_threads()]
        subject = [] if self._checkpoints is None else [place, state.subject]
        return Checkpoint(self._checkpoints, state, subject, self.recipe.epochs)

    def _epoch(self, epoch: int, plan: Sequence[np.ndarray], data: Data, clock: Clock) -> float:
        """Return the mean loss of one epoch's steps."""
        import torch

        self.network.train()
        losses: list[Tensor] = []
        for step, rows in enumerate(plan):
            losses.append(self._step(rows, data, clock.step))
            if self.device == "cpu" or step % LOOK_EVERY == 0 or step + 1 == len(plan):
                _require_finite(losses, epoch)
            clock.advance()
        self.losses += torch.stack(losses).tolist()
        return float(torch.stack(losses).mean())

    def _step(self, rows: np.ndarray, data: Data, step: int) -> Tensor:
        """Take one optimiser step on `rows`, in parts that fit; return its mean loss."""
        import torch

        while (loss := self._gradients(rows, data)) is None:
            self.rows_at_once = self._at_once(rows) // 2
            self.notes.append(f"{len(rows)} rows a step did not fit: {self.rows_at_once} at once from step {step + 1}")
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        return loss

    def _gradients(self, rows: np.ndarray, data: Data) -> Tensor | None:
        """Return the mean loss of `rows` with its gradients accumulated, or None where a part did not fit."""
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        loss = None
        try:
            loss = self._sum_of_parts(rows, data)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or self._at_once(rows) < 2:
                raise
        if not self._crew.agree(loss is not None, self.device) or loss is None:
            return None
        if self._crew.size == 1:
            return loss
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        mine = [weight.grad if weight.grad is not None else weight.new_zeros(weight.shape) for weight in weights]
        used = torch.tensor([float(weight.grad is not None) for weight in weights], device=self.device)
        loss, used, *sums = self._crew.add([loss, used, *mine])
        for weight, gradient, some in zip(weights, sums, used.tolist(), strict=True):
            weight.grad = gradient if some else None  # a zero would still be decayed
        return loss

    def _at_once(self, rows: np.ndarray) -> int:
        """Return how many rows of a step any process computes at once: the same number in all of them."""
        return min(self.rows_at_once, -(-len(rows) // self._crew.size))

    def _sum_of_parts(self, rows: np.ndarray, data: Data) -> Tensor:
        import torch

        counts = data.counts
        weight = self.loss.weight(data.targets[rows], None if counts is None else counts[rows]).to(self.device)

        def loss_of(part: np.ndarray, inputs: Mapping[str, Tensor]) -> Tensor:
            wanted = {"targets": data.targets[part]} | ({} if counts is None else {"counts": counts[part]})
            with computing_in(self.recipe.number_format, self.device):
                logits = self._forward(**moved(inputs, self.device))
            return self.loss.total(logits, **moved(wanted, self.device)) / weight

        mine = self._crew.share(rows)
        hands = [data.parts(hand, self.rows_at_once) for hand in dealt(mine, self._threads)] or [[]]
        if len(hands) > 1:
            return self._side_by_side([[(part, data.load(part)) for part in hand] for hand in hands], loss_of)
        found = torch.zeros((), device=self.device)
        for part in hands[0]:
            loss = loss_of(part, data.load(part))
            loss.backward()
            found += loss.detach()
        return found

    def _side_by_side(self, hands: Sequence[Sequence[Any]], loss_of: Callable[..., Tensor]) -> Tensor:
        """Compute the parts of each hand in a lane; sum losses and gradients in the order of the hands."""
        import torch

        from .networks.dropout import drawing_from

        weights = [weight for weight in self.network.parameters() if weight.requires_grad]

        def play(numbered: tuple[int, Sequence[Any]]) -> tuple[Tensor, list[Tensor | None]]:
            lane, hand = numbered
            total = torch.zeros(())
            sums: list[Tensor | None] = [None] * len(weights)
            with drawing_from(self._draws[lane]):
                for part in hand:
                    loss = loss_of(*part)
                    sums = list(map(_sum, sums, torch.autograd.grad(loss, weights, allow_unused=True)))
                    total += loss.detach()
            return total, sums

        before = None if self._lanes_proven else torch.get_rng_state()
        losses, found = zip(*(self._each if before is None else one_by_one)(play, list(enumerate(hands))), strict=True)
        for weight, *parts in zip(weights, *found, strict=True):
            weight.grad = functools.reduce(_sum, parts)
        if before is not None:
            # Where a layer draws from torch's own generator, the order in which lanes come to it would be chance.
            self._lanes_proven = torch.equal(before, torch.get_rng_state())
            self._threads = self._threads if self._lanes_proven else 1
        return torch.stack(losses).sum()


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return a sum of gradients; None is a gradient that there is none of. Never in place: two may be one tensor."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _require_finite(losses: Sequence[Tensor], epoch: int) -> None:
    import torch

    recent = torch.stack(list(losses[-LOOK_EVERY:])).cpu().tolist()
    for step, loss in enumerate(recent, start=len(losses) - len(recent) + 1):
        require_finite(loss, epoch + 1, step)


def answers(
    network: nn.Module,
    data: Data,
    rows: Sequence[np.ndarray],
    device: str,
    number_format: str = "fp32",
    halving: Halving | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Return (all rows, labels) float32 logits of the batches `rows`, in the order of the row numbers.

    Parameters
    ----------
    halving
        Remembers what fits into memory from one call to the next, and notes what did not.
    threads
        How many batches are answered side by side, on a CPU.
    """
    import torch

    def act(batch: np.ndarray) -> np.ndarray:
        return network(**moved(data.load(batch), device)).float().cpu().numpy()

    network.eval()
    halved = Halving("answered") if halving is None else halving

    def play(hand: Sequence[np.ndarray]) -> list[tuple[np.ndarray, Any]]:
        with torch.inference_mode(), computing_in(number_format, device):
            return list(halved.each(hand, act))

    hands = dealt(rows, threads if device == "cpu" else 1)
    with lanes(len(hands)) as each:
        numbers, found = zip(*itertools.chain(*each(play, hands)), strict=True)
    order = np.argsort(np.concatenate(numbers), kind="stable")
    return np.concatenate(found)[order]


def activated(logits: np.ndarray, kind: Kind) -> np.ndarray:
    """Return float32 probabilities of (rows, labels) logits."""
    from scipy.special import expit, softmax

    return expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
