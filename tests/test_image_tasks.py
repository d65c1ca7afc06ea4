"""An image task through the whole harness: a model gets its pixels in batches, and parts of the test fold their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from zoobench.benchmarks import run
from zoobench.benchmarks.options import check
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.core import TASKS
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UserError
from zoobench.leaderboard import board
from zoobench.leaderboard.cards import leak_notes
from zoobench.zoo.core import MODELS

PLUGIN = """
from pathlib import Path

import numpy as np
from zoobench.datasets.core import Examples, TaskCard, task
from zoobench.datasets.images import PixelStore
from zoobench.zoo.core import ModelCard, model

STORE = Path(__file__).with_name("store")


@task(TaskCard(
    name="bright-squares", title="t", description="d", version=1, kind="multilabel", modality="image",
    labels=("bright", "old"), primary_metric="f1_macro", group="none", licence="CC0-1.0", source="generated",
    citation="none", tabular=("age",), image_size=8,
), sources=lambda: (STORE,))
def read():
    pixels = PixelStore(STORE).pixels
    ages = np.linspace(0, 1, len(pixels))[np.random.default_rng(0).permutation(len(pixels))]
    targets = np.column_stack([pixels.mean(axis=(1, 2)) > 127, ages > 0.5]).astype(np.uint8)
    rows = np.random.default_rng(1).permutation(len(pixels))
    return Examples(
        np.array([f"i{row}" for row in rows], dtype=object), rows, targets[rows], np.arange(len(rows)),
        columns={"age": ages[rows]}, subsets={"young": ages[rows] < 0.4}, pixels=PixelStore(STORE),
    )


class Looker:
    def _features(self, X):
        batches = [X[start : start + 32].load() for start in range(0, len(X), 32)]
        assert all(batch.dtype == np.uint8 and batch.shape[1:] == (8, 8) for batch in batches)
        assert X.side == 8 and X.names == ("age",)
        return np.column_stack([np.concatenate(batches).mean(axis=(1, 2)) / 255, np.nan_to_num(X.tabular)])

    def fit(self, X, y):
        self.means = np.array([self._features(X)[:, k][y[:, k] == 1].min() for k in range(2)])
        return self

    def predict_proba(self, X):
        return 1 / (1 + np.exp(-50 * (self._features(X) - self.means)))


@model(ModelCard(
    name="looker", title="t", description="d", modality="image", framework="scikit-learn", citation="c",
))
def build(config, context):
    return Looker()
"""


def write_squares(folder: Path, source: str = PLUGIN) -> Path:
    """Write 240 grey squares and the plug-in of their task, with whatever models stand in it, into `folder`."""
    store = folder / "store"
    store.mkdir()
    rng = np.random.default_rng(0)
    shade = rng.integers(0, 256, (240, 1, 1))
    pixels = np.clip(shade + rng.integers(-20, 20, (240, 8, 8)), 0, 255).astype(np.uint8)
    np.save(store / "pixels.npy", pixels)
    np.save(store / "digests.npy", rng.integers(0, 256, (240, 16)).astype(np.uint8))
    path = folder / "squares.py"
    path.write_text(source)
    return path


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return write_squares(tmp_path)


def test_an_image_task_runs_and_its_parts_are_scored_apart(tmp_path: Path, plugin: Path) -> None:
    results = tmp_path / "results"
    models = ["looker", "dummy-most-frequent", "tfidf-logreg"]
    frame = run(task="bright-squares", model=models, plugin=plugin, results=results, quiet=True)
    assert dict(zip(frame.model, frame.status, strict=True)) == {
        "looker": "ok", "dummy-most-frequent": "ok", "tfidf-logreg": "incompatible"
    }  # fmt: skip
    (record, path) = next(
        (r, p) for p in Results(results).record_paths() for r in [read_record(p)] if r.model == "looker"
    )
    assert record.value is not None
    assert record.value > 0.9
    sealed = prepare(TASKS.get("bright-squares")).sealed_test()
    part = record.parts["young"]
    assert part.rows == int(sealed.subsets["young"].sum()) > 0
    import pyarrow.parquet as pq

    table = pq.read_table(path.parent / record.attempt / "probabilities.parquet").to_pandas()
    test = table[table.fold == "test"].set_index("id").loc[sealed.ids]
    predicted = test[["p:bright", "p:old"]].to_numpy() >= record.test["global"].thresholds
    young = sealed.subsets["young"]
    expected = f1_score(sealed.targets[young], predicted[young], average="micro", zero_division=0)
    assert part.values["f1_micro"] == pytest.approx(expected)
    assert "old" in part.undefined["f1"], "nobody young is old: named, not averaged away"
    assert board(results=results)["unseen"].isna().all()
    figures = pd.read_csv(path.parent / record.attempt / "metrics.csv").set_index(["part", "metric"]).value
    assert figures["young", "rows"] == part.rows
    assert figures["young", "f1_micro"] == part.values["f1_micro"]
    with Image.open(path.parent / record.attempt / "examples.png") as picture:
        assert picture.size == (1200, 1620), "sixteen, four in a row"
    assert "examples.png" in record.files


def test_a_task_of_images_gets_models_that_look() -> None:
    chosen = check("quick", {"task": "nih-chest-xray14"})
    assert "resnet18" in chosen.models
    assert all(MODELS.get(name).card.modality in {"image", "any"} for name in chosen.models)
    assert "tfidf-logreg" in check("quick", {"task": ["nih-chest-xray14", "openi-reports"]}).models


def test_a_run_in_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    told = "resnet18 reads images, and openi-reports has none: name another task by --task, such as "
    with pytest.raises(UserError, match=told):
        run(model="resnet18", results=tmp_path / "r", quiet=True)
    with pytest.raises(UserError, match="tfidf-logreg reads texts, and nih-chest-xray14 has none"):
        run(task="nih-chest-xray14", model="tfidf-logreg", results=tmp_path / "r", quiet=True)
    assert not (tmp_path / "r").exists()


def test_a_board_says_what_a_protocol_leaks() -> None:
    (group, exact) = leak_notes(["nih-chest-xray14@published", "nih-chest-xray14", "not-a-task@published"])
    assert group.startswith("nih-chest-xray14@published leaks (group): images were dealt, not patients")
    assert exact.startswith("nih-chest-xray14@published leaks (exact): ")
    assert leak_notes(["openi-reports"]) == []
