"""What lies beside a record: thresholds, metrics, configuration, history, losses, optimizer, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from zoobench.benchmarks import outputs, run
from zoobench.benchmarks.pictures import Picture, draw_examples, draw_maps
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, read_record
from zoobench.benchmarks.thresholds import Thresholds, policies_for
from zoobench.datasets.core import TaskCard
from zoobench.datasets.layout import SealedTest
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.optimizer_state import load_optimizer, save_optimizer

from .conftest import write_models

LEARNS = """
def fit(self, X, y, report=None):
    self.share = y.mean(axis=0)
    for epoch in (1, 2):
        report(10 * epoch, 20, loss=1 / epoch, **({"score": 0.25} if epoch == 2 else {}))
    self.losses_ = [0.5, 0.25, 0.125]

def predict_proba(self, X):
    words = [[word in text for word in ("fever", "fracture", "nodule")] for text in X]
    return 0.1 + 0.8 * np.array(words)
"""
FAILS = """
def fit(self, X, y):
    raise ValueError("no")
"""
ROGUE = """
def fit(self, X, y):
    self.losses_ = ["low"]

def predict_proba(self, X):
    return self.half(X)
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny: Path, cache: Path) -> dict[str, tuple[Record, Path]]:
    folder = tmp_path_factory.mktemp("outputs")
    plugin = write_models(folder / "learning.py", {"learns": LEARNS, "fails": FAILS, "rogue": ROGUE})
    names = ["learns", "fails", "rogue"]
    run(task="tiny", model=names, plugin=[tiny, plugin], results=folder / "r", quiet=True)
    found = {path: read_record(path) for path in Results(folder / "r").record_paths()}
    return {record.model: (record, path.parent / record.attempt) for path, record in found.items()}


def test_thresholds_by_policy_and_label(stored: dict[str, tuple[Record, Path]]) -> None:
    record, folder = stored["learns"]
    kept = json.loads((folder / "thresholds.json").read_text())
    assert set(kept["thresholds"]) == set(policies_for("multilabel"))
    assert kept["policy"] == record.policy == "global"
    for policy, by_label in kept["thresholds"].items():
        assert list(by_label) == ["fever", "fracture", "nodule"]
        assert list(by_label.values()) == record.test[policy].thresholds
    assert kept["thresholds"]["youden"] == pytest.approx(dict.fromkeys(record.labels, 0.9))


def test_metrics_are_one_figure_a_row(stored: dict[str, tuple[Record, Path]]) -> None:
    record, folder = stored["learns"]
    table = pd.read_csv(folder / "metrics.csv", keep_default_na=False)
    assert not table.duplicated(["fold", "part", "policy", "label", "metric"]).any()
    whole = table[(table.part == "") & (table.label == "") & (table.fold == "test") & (table.policy == "global")]
    row = whole.set_index("metric").loc["f1_macro"]
    assert float(row.value) == record.value
    assert (float(row.low), float(row.high)) == record.test["global"].intervals["f1_macro"]
    assert set(table.policy) == set(policies_for("multilabel"))
    assert set(table.fold) == {"train", "validation", "test"}
    label = table[(table.policy == "dynamic") & (table.label == "nodule")].set_index("metric").value
    assert float(label["recall"]) == record.test["dynamic"].per_label["recall"][2]


def test_configuration_history_and_losses(stored: dict[str, tuple[Record, Path]]) -> None:
    record, folder = stored["learns"]
    kept = json.loads((folder / "config.json").read_text())
    assert (kept["model"], kept["seed"], kept["labels"]) == ("learns", record.seed, record.labels)
    assert "test" not in kept
    assert (folder / "history.csv").read_text() == "step,loss,score\n10.0,1.0,\n20.0,0.5,0.25\n"
    assert (folder / "losses.csv").read_text() == "step,loss\n1,0.5\n2,0.25\n3,0.125\n"
    named = {path.name for path in folder.iterdir() if path.is_file()} - {"log.txt"}
    assert named == {name for name in record.files if "/" not in name}


def test_a_failed_cell_keeps_its_configuration_and_no_score(stored: dict[str, tuple[Record, Path]]) -> None:
    record, folder = stored["fails"]
    assert record.status == "failed"
    assert {path.name for path in folder.iterdir()} == {"config.json", "log.txt"}


def test_losses_that_are_none_leave_the_score(stored: dict[str, tuple[Record, Path]]) -> None:
    record, folder = stored["rogue"]
    assert record.status == "ok"
    assert any("training not kept: ValueError" in note for note in record.notes)
    assert not (folder / "losses.csv").exists()


def torch_training(steps: int, state: Path | None = None, weights: Any = None) -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    if weights is not None:
        network.load_state_dict(weights)
    optimizer = torch.optim.AdamW([{"params": [network.weight], "lr": 0.1}, {"params": [network.bias]}], lr=0.01)
    if state is not None:
        load_optimizer(optimizer, state)
    for step in range(steps):
        optimizer.zero_grad()
        network(torch.full((4, 3), 1.0 + step)).square().sum().backward()
        optimizer.step()
    return network, optimizer


def test_a_training_goes_on_from_a_kept_optimizer(tmp_path: Path) -> None:
    import torch

    network, optimizer = torch_training(2)
    save_optimizer(optimizer, tmp_path / "o.safetensors")
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    on, _ = torch_training(1, tmp_path / "o.safetensors", weights)
    anew, _ = torch_training(1, None, weights)
    optimizer.zero_grad()
    network(torch.full((4, 3), 1.0)).square().sum().backward()
    optimizer.step()
    assert torch.equal(on.weight, network.weight)
    assert not torch.equal(anew.weight, network.weight)


def test_a_damaged_optimizer_is_one_line(tmp_path: Path) -> None:
    _, optimizer = torch_training(1)
    path = tmp_path / "o.safetensors"
    save_optimizer(optimizer, path)
    for content in (path.read_bytes()[:40], b"", b"{}"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"optimizer state .* cannot be read"):
            load_optimizer(optimizer, path)
    with pytest.raises(UserError, match="cannot be read"):
        load_optimizer(optimizer, tmp_path / "absent")


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_examples_show_the_images_and_who_is_right(tmp_path: Path) -> None:
    dark, bright = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    pictures = [
        Picture("x.png", dark, ("Mass",), ("Mass",)),
        Picture("y.png", bright, ("Mass",), ("Edema $x$", "Hernia")),
        Picture("x.png", dark, (), ()),
    ]
    draw_examples(tmp_path / "p.png", pictures)
    found = pixels_of(tmp_path / "p.png")
    third = found.shape[1] // 3
    greens, reds = found[..., 1] - found[..., 0] > 60, found[..., 0] - found[..., 1] > 60
    middle = found[found.shape[0] // 2]
    assert middle[third // 2].tolist() == [0, 0, 0]
    assert middle[third + third // 2].tolist() == [255, 255, 255]
    assert greens[:, :third].any()
    assert not reds[:, :third].any()
    assert reds[:, third : 2 * third].any()
    assert greens[:, 2 * third :].any()


def test_maps_colour_only_what_they_name(tmp_path: Path) -> None:
    heat = np.zeros((16, 16))
    heat[:, 8:] = 1
    draw_maps(tmp_path / "m.png", np.full((16, 16), 100, np.uint8), {"Mass 0.71": heat})
    found = pixels_of(tmp_path / "m.png")
    coloured = np.ptp(found, axis=2) > 20
    width = found.shape[1]
    assert coloured[:, int(0.8 * width) : int(0.95 * width)].any()
    assert not coloured[:, : int(0.7 * width)].any()


def test_a_picture_of_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Picture("z", np.zeros((4, 4, 3), np.uint8), (), ())


SQUARES = TaskCard(
    name="squares", title="t", description="d", version=1, kind="multilabel", modality="image", labels=("a", "b"),
    primary_metric="f1_macro", group="none", licence="CC0-1.0", source="generated", citation="none", image_size=8,
)  # fmt: skip
TEST = SealedTest(np.array(["0", "1"], dtype=object), np.arange(2), np.zeros((2, 2), np.uint8), {})
FOUND = (np.zeros((2, 2), np.float32), Thresholds("global", (0.5, 0.5)))


def test_without_matplotlib_the_record_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "missing_modules", lambda names: names)
    (note,) = outputs.picture_examples(tmp_path, SQUARES, tmp_path, TEST, FOUND)
    assert "matplotlib is not installed" in note
    assert not any(tmp_path.iterdir())


def test_a_picture_that_cannot_be_drawn_costs_no_scores(tmp_path: Path) -> None:
    (note,) = outputs.picture_examples(tmp_path, SQUARES, tmp_path / "gone", TEST, FOUND)
    assert note.startswith("no picture of examples: FileNotFoundError: ")
