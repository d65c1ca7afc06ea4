"""How much encoder-like work some processes do side by side: ``python -m zoobench.benchmarks.engines.throughput``.

Given threads, seconds and counts of processes (``2 0.5 1,2``), it prints a JSON object: layers a second of all
processes together, by their count. The threads are divided among the processes. A process of its own, which imports
torch once, never uses its threads, and can so be forked from; each measured process is such a fork, as a cell is.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

TOKENS, WIDTH, HEADS = 1024, 384, 12
"""A batch of MiniLM as it is embedded here: eight texts of 128 tokens."""
ROUNDS = 2
"""Counts of processes are measured in turns, so that what else the machine does falls on all of them."""


def main(threads: int, seconds: float, counts: Sequence[int]) -> dict[int, float]:
    """Return layers a second by the number of processes, the best of some rounds."""
    found = [
        {count: _side_by_side(count, max(1, threads // count), seconds) for count in counts} for _ in range(ROUNDS)
    ]
    return {count: max(turn[count] for turn in found) for count in counts}


def _side_by_side(processes: int, threads: int, seconds: float) -> float:
    context = multiprocessing.get_context("fork")
    running = []
    for _ in range(processes):
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, threads, seconds), daemon=True)
        process.start()
        there.close()
        running.append((process, here))
    for _, pipe in running:
        pipe.recv_bytes()
    for _, pipe in running:
        pipe.send_bytes(b"go")
    rates = [float(pipe.recv_bytes()) for _, pipe in running]
    for process, _ in running:
        process.join()
    return sum(rates)


def _work(pipe: Connection, threads: int, seconds: float) -> None:
    layer = _layer(threads)
    layer()
    pipe.send_bytes(b"ready")
    pipe.recv_bytes()
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds:
        layer()
        done += 1
    pipe.send_bytes(str(done / spent).encode())


def _layer(threads: int) -> Callable[[], object]:
    """Return what computes a layer of a transformer; by NumPy, its products alone, where there is no torch."""
    if importlib.util.find_spec("torch") is None:
        return _products(threads)
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    x = torch.ones(TOKENS, WIDTH)
    mix, out, up, down = (torch.ones(*shape) for shape in _SHAPES)

    def layer() -> object:
        with torch.inference_mode():
            query, key, value = (x @ mix).view(-1, 128, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind()
            seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
            states = functional.layer_norm(x + seen.reshape(TOKENS, WIDTH) @ out, [WIDTH])
            return functional.layer_norm(states + functional.gelu(states @ up) @ down, [WIDTH])

    return layer


_SHAPES = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH))


def _products(threads: int) -> Callable[[], object]:
    import numpy as np
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, "blas")
    pairs = [(np.ones((TOKENS, rows), np.float32), np.ones((rows, columns), np.float32)) for rows, columns in _SHAPES]
    return lambda: [left @ right for left, right in pairs]


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is not None:
        import torch  # noqa: F401 - once, before the forks
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]), [int(word) for word in sys.argv[3].split(",")])))
