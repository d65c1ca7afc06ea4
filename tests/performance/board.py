"""Measure the board over 10,000 records: python tests/performance/board.py [FOLDER TO KEEP THE RECORDS IN]."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import Cell, outcome

TASKS, MODELS, SEEDS = 20, 250, 2


def fill(root: Path) -> None:
    """Store 20 tasks x 250 models x 2 seeds, 40 of them failed; 1,000 resamples each, as a real run has."""
    for number, skill in enumerate(np.linspace(0.0, 2.0, MODELS)):
        for seed in range(SEEDS):
            found = outcome(float(skill), seed=MODELS * seed + number, resamples=1000)
            for task in range(TASKS):
                failed = number == MODELS - 1
                Cell(f"model-{number:03}", None if failed else found, f"task-{task:02}", seed=seed).store(root)


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(root: Path) -> dict[str, float]:
    from zoobench.leaderboard import board

    code = "from zoobench.leaderboard import board, tables; tables.render(board(results={!r}))"
    command = [sys.executable, "-c", code.format(str(root))]
    figures = {
        "first board (nothing indexed)": seconds(lambda: board(results=root)),
        "second board, in this process": seconds(lambda: board(results=root)),
        "second board and its table, whole process": min(
            seconds(lambda: subprocess.run(command, check=True)) for _ in range(3)
        ),
        "sorted by another metric, first": seconds(lambda: board(results=root, sort="f1_micro")),
        "sorted by another metric, second": seconds(lambda: board(results=root, sort="f1_micro")),
    }
    next((root / "cells").glob("*/*/*/record.json")).touch()
    return figures | {"after one record was touched": seconds(lambda: board(results=root))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where to keep the records (default: nowhere)")
    with tempfile.TemporaryDirectory() as scratch:
        root = parser.parse_args().folder or Path(scratch)
        if not (root / "cells").is_dir():
            print(f"storing {TASKS * MODELS * SEEDS:,} records: {seconds(lambda: fill(root)):.1f} s")
        for name, figure in measure(root).items():
            print(f"{name:42} {figure:6.2f} s")


if __name__ == "__main__":
    main()
