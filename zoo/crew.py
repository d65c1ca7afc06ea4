"""A training step dealt to several GPUs, a process each, through accelerate."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.support.errors import UserError
from .lanes import dealt

if TYPE_CHECKING:
    from torch import Tensor

    from .training import Data, Trainer

PATIENCE_SECONDS = 10.0
"""How long helpers may take to end by themselves."""


class Crew:
    """The processes that take a training step together: each has all weights, and a share of the rows.

    Parameters
    ----------
    rank, size
        Which one this is, and how many there are. The first one is the cell's own process, and alone where `size` is
        1; it alone validates.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return this process's rows of a step: none where there are fewer than processes."""
        hands = dealt(rows, self.size)
        return hands[self.rank] if self.rank < len(hands) else rows[:0]

    def agree(self, fits: bool, device: str) -> bool:
        """Return whether a share fitted into memory everywhere."""
        if self.size == 1:
            return fits
        import torch

        return bool(self._sum([torch.tensor([float(fits)], device=device)])[0].item() == self.size)

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of each tensor over all processes."""
        return list(tensors) if self.size == 1 else self._sum(list(tensors))

    def follow(self, stops: bool, optimizer: Any, device: str) -> bool:
        """Take over the first one's learning rates; return whether it stops."""
        if self.size == 1:
            return stops
        import torch
        from accelerate.utils import broadcast

        rates = [group["lr"] for group in optimizer.param_groups]
        heard: Any = broadcast(torch.tensor([float(stops), *rates], dtype=torch.float64, device=device))
        told = heard.tolist()
        for group, rate in zip(optimizer.param_groups, told[1:], strict=True):
            group["lr"] = rate
        return bool(told[0])

    def _sum(self, tensors: list[Tensor]) -> list[Tensor]:
        """Sum in one message: hundreds of small ones would each wait for the slowest."""
        import torch
        from accelerate.utils import reduce

        flat: Any = reduce(torch.cat([tensor.reshape(-1) for tensor in tensors]), "sum")
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


@contextlib.contextmanager
def crew_of(trainer: Trainer, data: Data, size: int) -> Iterator[Crew]:
    """Start `size` - 1 helpers that train as `trainer` does on `data`, and give the first one's crew.

    Raises
    ------
    UserError
        If the machine has fewer GPUs.
    RuntimeError
        If a helper ended before its time.
    """
    import torch

    if size == 1:
        yield Crew()
        return
    if trainer.device == "cuda" and size > torch.cuda.device_count():
        raise UserError(f"gpus={size}: this cell sees {torch.cuda.device_count()}: lower it, or make more visible")
    spawn = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU that its parent has used
    place = _place(size)
    given = (copy.deepcopy(trainer.network).cpu(), trainer.losses_of_cycles, trainer.recipe, data, trainer.device)
    seed = torch.initial_seed()
    helpers = [
        spawn.Process(target=_help, args=(rank, seed + rank, place, *given), daemon=True) for rank in range(1, size)
    ]
    for helper in helpers:
        helper.start()
    try:
        with _joined(0, place, trainer.device):
            yield Crew(0, size)
    except RuntimeError as error:
        for helper in helpers:
            helper.join(1)  # the message that its line is cut may come before its end
        if ended := [helper for helper in helpers if helper.exitcode]:
            raise RuntimeError(f"{len(ended)} of {size - 1} helpers ended (exit {ended[0].exitcode})") from error
        raise
    finally:
        for helper in helpers:
            helper.join(PATIENCE_SECONDS)
            helper.kill()
            helper.join()


def _place(size: int) -> dict[str, str]:
    """Return the variables by which the processes of a crew find each other, on this machine alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


@contextlib.contextmanager
def _joined(rank: int, place: Mapping[str, str], device: str) -> Iterator[None]:
    """Be the process of that rank for a block."""
    import torch
    from accelerate import PartialState

    before, threads = dict(os.environ), torch.get_num_threads()
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank), ACCELERATE_USE_CPU=str(device == "cpu").lower())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # else accelerate takes all cores, with a warning
    try:
        state = PartialState(cpu=device == "cpu")
        yield
        state.destroy_process_group()
    finally:
        PartialState._reset_state()
        os.environ.clear()
        os.environ.update(before)


def _help(rank: int, seed: int, place: Mapping[str, str], network: Any, losses: Any, *given: Any) -> None:
    """Take part in a training: what a helper's process does."""
    import torch

    from .training import Trainer

    recipe, data, device = given
    if device == "cuda":
        torch.cuda.set_device(rank)
    torch.manual_seed(seed)
    with _joined(rank, place, device):
        Trainer(network, losses, recipe, device).train(data, Crew(rank, int(place["WORLD_SIZE"])))
