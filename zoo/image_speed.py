"""Which number format and memory layout a device trains a convolutional network fastest in, measured on it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.support.files import sha256_json
from .identity import installed
from .memory import out_of_memory
from .number_format import CLEARLY

if TYPE_CHECKING:
    from torch import nn

    from .features import Batch, FeatureCache

FORMATS, LAYOUTS = ("fp32", "bf16"), ("contiguous", "channels-last")
_GAIN = {"fp32": 1.0, "bf16": CLEARLY, "contiguous": 1.0, "channels-last": 1.05}
"""How many times as fast as the plain one each must be to be taken: less is the noise of a measurement."""
_ROWS = {"cpu": 4, "cuda": 32}
"""Of a step that is measured, at most."""
_ROUNDS = 3


def measured_step(
    features: FeatureCache,
    device: str,
    network: nn.Module,
    inputs: tuple[int, int, int, int],
    allowed: Sequence[tuple[str, str]] = tuple(product(FORMATS, LAYOUTS)),
) -> tuple[str, str]:
    """Return the number format and the memory layout among the `allowed` with the fastest training step.

    Measured once for a network's shape, a device, a machine and torch, and remembered: noise changes nothing.

    Parameters
    ----------
    network
        (images, tabular) -> logits; it is left as it is.
    inputs
        Channels and side of the images, how many numbers stand beside them, and rows of a step at most; half as many
        where they do not fit.
    """
    if len(allowed) == 1:
        return allowed[0]

    def measure(devices: list[str]) -> Generator[Batch, None, None]:
        start = time.perf_counter()
        rows = most
        while (seconds := _measured(network, (rows, *inputs[:3]), devices[0], allowed)) is None:
            rows //= 2
        yield [0], [" ".join(fastest(seconds))], time.perf_counter() - start

    shapes = sha256_json([[name, list(held.shape)] for name, held in network.named_parameters()])
    most = min(_ROWS[device], inputs[3])
    settings = {
        "measured": "image step",
        "network": shapes,
        "inputs": [*inputs[:3], most],
        "allowed": [*map(list, allowed)],
    }
    found = features.texts({**settings, "torch": installed("torch")}, np.array([device], dtype=object), measure)[0]
    number_format, layout = str(found).split()
    return number_format, layout


def fastest(seconds: Mapping[tuple[str, str], float]) -> tuple[str, str]:
    """Return the format and layout with the fewest seconds, where they are clearly fewer than those of plainer ones.

    >>> fastest({("fp32", "contiguous"): 1.0, ("bf16", "contiguous"): 0.8, ("fp32", "channels-last"): 0.9})
    ('fp32', 'channels-last')
    """
    return min(seconds, key=lambda each: seconds[each] * _GAIN[each[0]] * _GAIN[each[1]])


def _measured(
    network: nn.Module, inputs: tuple[int, int, int, int], device: str, allowed: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], float] | None:
    """Return the seconds of each, or None where a step of so many rows does not fit; one row that does not, raises.

    They are measured in turns, so that what else the machine does falls on all of them.
    """
    from .training import seeded

    try:
        with seeded(0, device):  # dropout draws, and what is drawn here must not move what is drawn after
            steps = {each: _step(network, inputs, device, *each) for each in allowed}
            turns = [{each: step() for each, step in steps.items()} for _ in range(_ROUNDS + 1)]
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or inputs[0] < 2:
            raise
        return None
    return {each: min(turn[each] for turn in turns[1:]) for each in allowed}  # the first turn warms up


def _step(
    network: nn.Module, inputs: tuple[int, int, int, int], device: str, number_format: str, layout: str
) -> Callable[[], float]:
    """Return what takes one forward and backward pass and tells its seconds."""
    import torch

    from .training import computing_in

    rows, channels, side, columns = inputs
    form = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    tried = copy.deepcopy(network).to(device=device, memory_format=form).train()  # pyright: ignore[reportCallIssue]
    images = torch.rand(rows, channels, side, side, device=device).contiguous(memory_format=form)
    tabular = torch.rand(rows, columns, device=device)

    def step() -> float:
        start = time.perf_counter()
        with computing_in(number_format, device):
            logits = tried(images, tabular)
        logits.float().sum().backward()
        _ = next(weight.grad.sum().item() for weight in tried.parameters() if weight.grad is not None)  # waits
        return time.perf_counter() - start

    return step
