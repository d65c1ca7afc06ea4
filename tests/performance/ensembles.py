"""Measure greedy selection over 100 members of 5,000 x 24 validation rows: python tests/performance/ensembles.py."""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from figures import Figure, head, show
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.benchmarks.selection import blend, greedy, scorer_for

ROUNDS = 50
SECONDS = 10.0
"""The most that selection by F1 may take."""


def library(members: int, rows: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return members of some skill (members, labels, rows) float32 that share errors, and targets (rows, labels)."""
    rng = np.random.default_rng(0)
    targets = (rng.random((rows, labels)) < rng.uniform(0.02, 0.3, labels)).astype(np.uint8)
    found = np.empty((members, labels, rows), dtype=np.float32)
    common = rng.normal(size=(labels, rows))
    for member, skill in zip(found, np.linspace(0.5, 2, members), strict=True):
        logits = skill * targets.T + common + rng.normal(size=(labels, rows)) - 2
        member[:] = 1 / (1 + np.exp(-logits))
    return found, targets


def measure(metric: str, members: np.ndarray, targets: np.ndarray, most: float | None) -> None:
    start = time.perf_counter()
    found = greedy(members, scorer_for("multilabel", metric, targets), ROUNDS)
    seconds = time.perf_counter() - start
    whole = TaskScorer("multilabel", metric)
    alone, together = (whole(targets, each.T) for each in (members[-1], blend(members, found.counts)))
    how = f"{np.count_nonzero(found.counts)} members taken, {alone:.3f} of the best alone, {together:.3f} together"
    show(Figure(f"greedy by {metric}, seconds", seconds, most, how, at_most=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 members of 500 x 24: to see that it runs")
    quick = parser.parse_args().quick
    head(" ".join(["python tests/performance/ensembles.py", *sys.argv[1:]]))
    count, rows = (10, 500) if quick else (100, 5000)
    members, targets = library(count, rows, 24)
    print(f"{count} members, {rows:,} x 24 validation rows, {ROUNDS} rounds: {count * ROUNDS:,} ensembles scored")
    measure("f1_macro", members, targets, SECONDS)
    measure("f1_micro", members, targets, SECONDS)
    measure("roc_auc_macro", members, targets, None)
    one = time.perf_counter()
    TaskScorer("multilabel", "f1_macro")(targets, members[0].T)
    seconds = (time.perf_counter() - one) * count * ROUNDS
    show(Figure("the same by TaskScorer, seconds (from one score)", seconds))


if __name__ == "__main__":
    main()
