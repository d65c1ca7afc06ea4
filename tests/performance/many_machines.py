"""Measure the Ray engine against one process: python tests/performance/many_machines.py [--cells 6] [--seconds 12].

The same cells are run by the local engine one after another, and by `--engine ray` on two workers of this machine,
in turns, one thread each. A cell fits a linear model by gradient descent on made-up rows, as many times as take
`--seconds` alone, on one core. What is timed is from the first cell to the last record; starting Ray and importing
frameworks are apart, and shown.

The first line gives ideal seconds (those of one process / 2) / seconds of two workers; `MISSED` marks what is less than
is asked, and the exit status is then 1. The second holds the seconds of the fits as they were beside each other against
the workers': what the engine itself loses, on a machine whose cores share. Other work spoils both: the load is shown.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from figures import Figure, head, show
from zoobench.benchmarks import runner
from zoobench.benchmarks.options import RunOptions

TARGET, WORKERS = 0.85, 2
PLUGIN = '''
import numpy as np
from zoobench.datasets.core import Examples, TaskCard, task
from zoobench.zoo.core import ModelCard, model


@task(TaskCard(
    name="made-up", title="t", description="d", version=1, kind="multiclass", modality="text", labels=("a", "b"),
    primary_metric="f1_macro", group="none", licence="CC0-1.0", source="generated", citation="none",
))
def made_up(rows=400):
    rng = np.random.default_rng(0)
    targets = rng.integers(2, size=rows)
    texts = np.array([" ".join(rng.choice(list("pqrst"), 8)) + " ab"[1 + y] for y in targets], dtype=object)
    return Examples(np.array([f"r{i}" for i in range(rows)], dtype=object), texts, targets, np.arange(rows))


class Descends:
    """Fits a linear model to a fixed number of rows, `rounds` times over."""

    def __init__(self, config):
        self.rounds = config["rounds"]

    def fit(self, X, y, seed):
        from sklearn.linear_model import SGDClassifier

        rng = np.random.default_rng(seed)
        Z, z = rng.random((2000, 60)), rng.integers(2, size=2000)
        for _ in range(self.rounds):
            SGDClassifier(max_iter=5, tol=None, random_state=seed).fit(Z, z)
        return self

    def predict_proba(self, X):
        first = np.array([text.endswith("a") for text in X], dtype=float)
        return np.column_stack([first, 1 - first])


CARD = ModelCard(
    name="descends", title="t", description="d", modality="text", framework="scikit-learn", citation="c",
    default={"rounds": 10},
)


@model(CARD)
def build(config, context):
    return Descends(config)
'''


def measure(plugin: Path, results: Path, rounds: int, cells: int, **options: Any) -> tuple[float, float, list[Any]]:
    """Run the cells and return the seconds from the first to the last record, those of the whole, and the records."""
    spent = 0.0
    original = runner._Run._pass

    def timed(*words: Any, **named: Any) -> Any:
        nonlocal spent
        start = time.monotonic()
        try:
            return original(*words, **named)
        finally:
            spent += time.monotonic() - start

    asked = RunOptions(task="made-up", model="descends", seed=range(cells), plugin=plugin, results=results, quiet=True)
    asked.update({"threads": 1, "set": {"rounds": rounds}, **options})  # type: ignore[typeddict-item]
    start = time.monotonic()
    with mock.patch.object(runner._Run, "_pass", timed):
        records = runner.run_suite("quick", asked).records
    if wrong := [record for record in records if record.status != "ok"]:
        raise SystemExit(f"a cell {wrong[0].status}: {wrong[0].reason}")
    return spent, time.monotonic() - start, records


def calibrated(plugin: Path, folder: Path, seconds: float) -> int:
    """Return how many rounds take so many seconds on one core."""
    rounds = 20
    while True:
        [record] = measure(plugin, folder / f"rounds-{rounds}", rounds, 1)[2]
        if record.timings.fit > min(1.0, seconds / 2):
            return max(1, round(rounds * seconds / record.timings.fit))
        rounds *= 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--address", help="of a Ray cluster with two cores; by default Ray is started here")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of the processes that fit
    head(" ".join(["python tests/performance/many_machines.py", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory(prefix="zoobench.ray.") as name:
        folder = Path(name)
        plugin = folder / "descends.py"
        plugin.write_text(PLUGIN)
        rounds = calibrated(plugin, folder, options.seconds)
        before = os.getloadavg()[0]
        alone, _, records = measure(plugin, folder / "local", rounds, options.cells, jobs=1)
        ray: dict[str, Any] = {"engine": "ray", "jobs": WORKERS}
        ray |= {"address": options.address} if options.address else {}
        spread, whole, found = measure(plugin, folder / "ray", rounds, options.cells, **ray)
    if {record.key for record in found} != {record.key for record in records}:
        raise SystemExit("the two engines made other records")
    fits = [sum(record.timings.fit for record in each) / len(each) for each in (records, found)]
    how = (
        f"{options.cells} cells, fit {fits[0]:.1f} s alone, {fits[1]:.1f} s beside another: {alone:.1f} s one by one, "
    )
    how += f"{spread:.1f} s on {WORKERS} workers + {whole - spread:.1f} s to start Ray and prepare; load {before:.1f}"
    figure = Figure("ideal / two Ray workers, seconds", alone / WORKERS / spread, TARGET, how)
    show(figure)
    # Two hyper-threads of one core slow each other, whoever starts them: what is lost beside that is the engine's.
    show(Figure("the same, of fits as slow as they were", options.cells * fits[1] / WORKERS / spread))
    return int(figure.missed)


if __name__ == "__main__":
    sys.exit(main())
