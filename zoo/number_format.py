"""Which number format a device multiplies fastest, measured on it."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .identity import installed

if TYPE_CHECKING:
    from .features import Batch, FeatureCache

CLEARLY = 1.3
"""bf16 is taken where it is that many times as fast: for less, fp32's vectors are worth more."""
_ROWS, _INNER, _COLUMNS, _ROUNDS = 512, 384, 1536, 4


@cache
def fastest_format(device: str) -> str:
    """Return "bf16" where `device` multiplies it clearly faster than "fp32", by a product of a transformer's size.

    Processors without matrix units for it take twice as long as for fp32.
    """
    import torch

    seconds = {name: _seconds(device, dtype) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    return "bf16" if seconds["bf16"] * CLEARLY < seconds["fp32"] else "fp32"


def measured_format(features: FeatureCache, device: str) -> str:
    """Return the `fastest_format` of `device`, measured once for a task, machine and torch: noise changes nothing."""

    def measure(devices: list[str]) -> Generator[Batch, None, None]:
        import torch  # noqa: F401 - its seconds are no part of the measurement

        start = time.perf_counter()
        yield [0], [fastest_format(devices[0])], time.perf_counter() - start

    return features.texts(
        {"measured": "number format", "torch": installed("torch")}, np.array([device], dtype=object), measure
    )[0]


def _seconds(device: str, dtype: object) -> float:
    import torch

    left = torch.ones((_ROWS, _INNER), device=device, dtype=dtype)  # type: ignore[arg-type]
    right = torch.ones((_INNER, _COLUMNS), device=device, dtype=dtype)  # type: ignore[arg-type]
    found = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        _ = (left @ right)[0, 0].item()  # asking for a number waits for the device
        found.append(time.perf_counter() - start)
    return min(found)
