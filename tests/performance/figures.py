"""What the scripts that measure models share: a line of their table, and rates that are measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

PRODUCT_SECONDS = 3.0
"""For so long the best of the matrix products is looked for: some come while nothing else runs."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was reached, and the least (or, where `at_most`, the most) that is asked for."""

    name: str
    reached: float
    target: float | None = None
    how: str = ""
    at_most: bool = False

    @property
    def missed(self) -> bool:
        if self.target is None:
            return False
        return self.reached > self.target if self.at_most else self.reached < self.target


def head(command: str) -> None:
    print(command)
    print(f"{'figure':<46}{'target':>8}{'reached':>9}")


def show(figure: Figure) -> None:
    target = "" if figure.target is None else f"{'<=' if figure.at_most else '>='} {figure.target:g}"
    mark = "  MISSED" if figure.missed else ""
    print(f"{figure.name:<46}{target:>8}{figure.reached:>9.2f}  {figure.how}{mark}", flush=True)


def in_turns(jobs: Mapping[str, Callable[[int], int]], steps: int, device: str) -> dict[str, float]:
    """Return units a second by job; a job takes the number of a step and answers how many units it did."""
    seconds, units = dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 0)
    for number in range(steps + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            done = job(number)
            wait(device)
            if number:  # the first of each pays for buffers
                seconds[name] += time.perf_counter() - start
                units[name] += done
    return {name: units[name] / seconds[name] for name in jobs}


def wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def product_rate(device: str, matrix: tuple[int, int, int]) -> float:
    """Return the operations a second of a matrix product in the number format of training, at best.

    Parameters
    ----------
    matrix
        Rows, inner and columns, on a CPU: as a layer of what is measured has them. A GPU takes large ones.
    """
    import torch

    rows, inner, columns = matrix if device == "cpu" else (8192, 8192, 8192)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    left = torch.ones(rows, inner, dtype=dtype, device=device)
    right = torch.ones(inner, columns, dtype=dtype, device=device)
    best, begun = np.inf, time.perf_counter()
    while time.perf_counter() < begun + PRODUCT_SECONDS:
        start = time.perf_counter()
        for _ in range(5):
            product = left @ right
        product[0, 0].item()
        best = min(best, (time.perf_counter() - start) / 5)
    return 2 * rows * inner * columns / best
