"""Recorded cells for tests of ensembles: models that know one or two of the three words of `tiny` each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from zoobench.benchmarks import run
from zoobench.benchmarks.ensemble import Pool
from zoobench.benchmarks.members import Member, member_of
from zoobench.benchmarks.options import load_plugin
from zoobench.benchmarks.store import PROBABILITIES, Stored, read_record
from zoobench.datasets.own import task_of
from zoobench.datasets.prepare import prepare

# Each knows one or two of the three words, so that no one of them is best and together they know all.
KNOWING = """
import numpy as np
from zoobench.zoo.core import ModelCard, model

WORDS = ("fever", "fracture", "nodule")

class Knowing:
    def __init__(self, known, seed):
        self.known, self.seed = known, seed
    def fit(self, X, y):
        return self
    def predict_proba(self, X):
        rng = np.random.default_rng([self.seed, *[ord(letter) for letter in "".join(self.known)]])
        held = np.array([[word in text.split() for word in WORDS] for text in X])
        guess = 0.5 + 0.1 * rng.normal(size=held.shape).clip(-2, 2)
        return np.where([word in self.known for word in WORDS], np.where(held, 0.8, 0.2), guess)
    def save(self, folder):
        (folder / "kept").write_text("nothing")
    def load(self, folder):
        assert (folder / "kept").is_file()
        return self

def card(name):
    return ModelCard(name=name, title="t", description="d", modality="text", framework="scikit-learn", citation="c",
                     kinds=("multilabel",))

first = model(card("knows-one"))(lambda config, context: Knowing(("fever",), context.seed))
rest = model(card("knows-two"))(lambda config, context: Knowing(("fracture", "nodule"), context.seed))
none = model(card("knows-none"))(lambda config, context: Knowing((), context.seed))
"""


def plugins_beside(tiny: Path) -> list[Path]:
    """Return the plug-in files: the tasks, and the models that know."""
    path = tiny.parent / "knowing_models.py"
    path.write_text(KNOWING)
    return [tiny, path]


def five_cells(plugins: list[Path], folder: Path) -> Path:
    """Return a copy in `folder` of a results folder with five finished cells of `tiny`, run once a session."""
    kept = plugins[1].parent / "five"
    if not kept.exists():
        options: dict[str, Any] = {"task": "tiny", "plugin": plugins, "results": kept, "quiet": True, "threads": 1}
        run(model=["knows-one", "knows-two"], seed=[0, 1], **options)
        run(model=["knows-none"], **options)
    return shutil.copytree(kept, folder)


def cells(folder: Path, model: str = "knows-*") -> list[Stored]:
    return [Stored(read_record(path), path) for path in sorted(folder.glob(f"cells/tiny/{model}/*/record.json"))]


def members(folder: Path, model: str = "knows-*") -> list[Member]:
    return [member_of(cell) for cell in cells(folder, model)]


def pool(found: list[Member], plugins: list[Path]) -> Pool:
    for path in plugins:
        load_plugin(path)
    task = task_of("tiny")
    return Pool(task.card, prepare(task), found)


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def probabilities(stored: Stored) -> np.ndarray:
    found = columns(stored.attempt / PROBABILITIES)
    return np.column_stack([each for name, each in found.items() if name.startswith("p:")])


def rewrite(stored: Stored, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Stored:
    """Replace a cell's probabilities by what `change` makes of its columns, as if they had been recorded so."""
    path = stored.attempt / PROBABILITIES
    pq.write_table(pa.table(change(columns(path))), path)
    return Stored(stored.record.model_copy(update={"files": {}}), stored.path)
