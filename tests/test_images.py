"""Image classifiers on generated images: what they learn, say, measure, keep and refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from zoobench.benchmarks.check import image_task
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.datasets.core import Kind
from zoobench.datasets.images import Images
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.tasks.nih_chest_xray14 import CARD as NIH
from zoobench.zoo import image_speed
from zoobench.zoo.balancing import Balanced
from zoobench.zoo.class_weights import log_weights
from zoobench.zoo.core import MODELS, Config, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.image_data import ImageData, Scale
from zoobench.zoo.image_speed import fastest, measured_step
from zoobench.zoo.images import (
    GRID,
    IMAGE,
    PUBLISHED,
    PUBLISHED_WEIGHTS,
    ImageClassifier,
    losses_of,
    macro_f1,
    published_weights,
)
from zoobench.zoo.models import tabular_logreg
from zoobench.zoo.networks.backbones import Backbone
from zoobench.zoo.networks.pyramid import Fusion, ImageNetwork

FIXED = {"number_format": "fp32", "memory_layout": "contiguous"}


def small(config: Config, labels: int, columns: int) -> ImageNetwork:
    """A network that is trained in a second, and knows left from right."""
    first, second = nn.Conv2d(3, 8, 5, stride=4), nn.Conv2d(8, 8, 3, stride=2)
    eye = nn.Sequential(
        first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d((2, 4)), nn.Flatten()
    )
    return ImageNetwork(eye, Fusion(64, labels, columns, float(config["dropout"])), Backbone(eye, 64))


def built(folder: Path, kind: Kind = "multilabel", **settings: Any) -> ImageClassifier:
    config = {
        **IMAGE,
        **FIXED,
        "size": 64,
        "cycles": 2,
        "epochs": 3,
        "batch_size": 12,
        "learning_rate": 1e-2,
        **settings,
    }
    return ImageClassifier(small, config, Context(image_task(kind)[0], 5, "cpu", 2, FeatureCache(folder)))


def fitted(model: ImageClassifier, kind: Kind = "multilabel", told: list[Any] | None = None) -> ImageClassifier:
    _, X, y = image_task(kind, 72)
    said = [] if told is None else told
    return model.fit(
        X[:48],
        y[:48],
        X_val=X[48:],
        y_val=y[48:],
        seed=5,
        scorer=TaskScorer(kind, "f1_macro"),
        report=lambda step, total, **values: said.append((step, total, values)),
    )


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_it_learns_where_the_squares_are(kind: Kind, tmp_path: Path) -> None:
    told: list[Any] = []
    model = fitted(built(tmp_path, kind, cycles=4, augmentation="none"), kind, told)
    valued = [values for _, _, values in told if values]
    assert len(valued) == 12
    assert all(set(values) == {"loss", "score", "val_loss"} for values in valued)
    assert valued[-1]["loss"] < 0.7 * valued[0]["loss"]
    _, X, y = image_task(kind, 72)
    assert TaskScorer(kind, "f1_macro")(y[48:], model.predict_proba(X[48:])) > 0.8
    assert model.notes_ == (
        "age is not known of 1 of 48 training images: their mean was taken",
        "trained in fp32, contiguous",
    )


def test_the_published_recipe_trains_and_says_what_it_balanced(tmp_path: Path) -> None:
    changes = {**PUBLISHED, "loss": "balanced", "cycles": 1, "epochs": 1}
    model = fitted(built(tmp_path, **changes))
    assert model.notes_[1].startswith("balanced: 48 rows became ")


def test_channels_last_answers_the_same(tmp_path: Path) -> None:
    _, X, _ = image_task("multilabel")
    first = fitted(built(tmp_path, cycles=1, epochs=1))
    folder = tmp_path / "artefact"
    folder.mkdir()
    first.save(folder)
    again = built(tmp_path).load(folder)
    again._layout = "channels-last"
    network = again._network
    again._assemble(network.network)
    assert next(network.parameters()).is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(again.predict_proba(X), first.predict_proba(X), atol=1e-5)


def test_the_published_weights_and_those_of_the_third_cycle() -> None:
    at = {label: number for number, label in enumerate(NIH.labels)}
    none = np.zeros((2, 14), np.uint8)
    first, third = published_weights(NIH.labels, none, 0), published_weights(NIH.labels, none, 2)
    assert first.shape == (14,)
    assert first[at["Hernia"]] == pytest.approx(3.0943)
    assert first[at["Infiltration"]] == pytest.approx(1.6402)
    np.testing.assert_array_equal(published_weights(NIH.labels, none, 1), first)
    changed = {label: float(third[number]) for label, number in at.items() if third[number] != first[number]}
    assert changed == pytest.approx({"Pneumonia": 4.5, "Fibrosis": 3.8, "Consolidation": 4.3})
    losses = losses_of({**IMAGE, "loss": "published"}, NIH, none)
    logits, targets = torch.zeros(1, 14), torch.zeros(1, 14)
    targets[0, at["Pneumonia"]] = 1
    found = [float(loss.total(logits, targets)) for loss in losses]
    np.testing.assert_allclose(np.diff(found), [0, (4.5 - 3.0943) * np.log(2) / 14], rtol=1e-4, atol=1e-7)
    other = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], np.uint8)
    np.testing.assert_allclose(published_weights(("Mass", "Rib"), other, 2), [np.log(3), 1], rtol=1e-6)
    with pytest.raises(UserError, match="multi-label"):
        losses_of({**IMAGE, "loss": "published"}, replace(NIH, kind="multiclass"), np.array([0, 1]))


def test_the_formula_gives_the_published_weights_of_frequent_findings() -> None:
    """Counts of the training fold of nih-chest-xray14@published, whose other findings the original copied."""
    counts = {"infiltration": 8481, "effusion": 8165, "atelectasis": 6806, "nodule": 4558, "mass": 4163}
    counts |= {"pneumothorax": 3818, "consolidation": 3360}
    y = (np.arange(35117)[:, None] < np.array(list(counts.values()))).astype(np.uint8)
    np.testing.assert_allclose(log_weights(y), [PUBLISHED_WEIGHTS[name] for name in counts], atol=0.014)


def test_macro_f1_is_the_best_of_the_published_thresholds() -> None:
    rng = np.random.default_rng(0)
    targets, found = rng.integers(0, 2, (30, 3)), rng.random((30, 3))
    best = [max(f1_score(targets[:, at], found[:, at] >= cut) for cut in GRID) for at in range(3)]
    assert macro_f1(targets, found) == pytest.approx(np.mean(best))
    assert (GRID[0], GRID[-1], len(GRID)) == (0.10, 0.85, 16)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": 63}, "size=63 is not from 64 to 4,096"),
        ({"number_format": "fp8"}, "unknown number_format"),
        ({"memory_layout": "last"}, "unknown memory_layout"),
        ({"augmentation": "mirror"}, "unknown augmentation"),
        ({"balance": "smote"}, "unknown balance"),
        ({"levels": "c2"}, "unknown levels"),
        ({"weights": "a/b.pt"}, r"weights file a/b\.pt is not there"),
        ({"weights": "imagnet"}, r"unknown weights 'imagnet': did you mean 'imagenet'\?"),
        ({"weights": "chest"}, "unknown weights 'chest'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        MODELS.get("densenet121-fpn-tabular").card.configure("", settings)


def test_balancing_is_refused_where_classes_exclude_one_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multi-label"):
        built(tmp_path, "multiclass", balance="published")


def test_a_damaged_image_store_fails_the_fit(tmp_path: Path) -> None:
    _, X, y = image_task("multilabel")
    cut = Images(X.load()[:10], np.arange(len(X)), X.tabular, X.names)
    with pytest.raises(IndexError):
        built(tmp_path).fit(cut, y)


def test_numbers_are_filled_and_scaled_by_the_training_fold() -> None:
    nan = np.nan
    scale = Scale.of(np.array([[0.2, 20.0, 1.0, nan], [nan, 60.0, 1.0, nan], [0.6, np.inf, 1.0, nan]], np.float32))
    found = scale.apply(np.array([[nan, 40.0, 1.0, nan], [0.9, nan, nan, 0.3]], np.float32))
    np.testing.assert_allclose(found, [[0.4, 0.5, 1.0, 0.5], [0.9, 0.5, 1.0, 0.3]], atol=1e-6)
    assert found.dtype == np.float32
    assert Scale.of(np.zeros((3, 0), np.float32)).apply(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_data_shows_every_row_once_an_epoch_and_mirrors_copies() -> None:
    _, X, y = image_task("multilabel")
    data = ImageData(X, np.zeros((48, 3), np.float32), y, Balanced(np.array([7, 7, 3]), np.array([False, True, False])))
    held = data.load(np.array([1, 0, 2]))["pixels"].numpy()
    np.testing.assert_array_equal(held, [X[7:8].load()[0, :, ::-1], X[7:8].load()[0], X[3:4].load()[0]])
    np.testing.assert_array_equal(data.targets.numpy(), y[[7, 7, 3]])
    whole = ImageData(X, np.zeros((48, 3), np.float32), y)
    first, second = whole.plan(0, 10), whole.plan(1, 10)
    assert [len(rows) for rows in first] == [10, 10, 10, 9, 9]
    assert sorted(np.concatenate(first)) == list(range(48))
    assert not np.array_equal(first[0], second[0])


def test_the_fastest_step_is_measured_once_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fastest({("fp32", "contiguous"): 1.0, ("bf16", "contiguous"): 0.7, ("fp32", "channels-last"): 0.97}) == (
        "bf16",
        "contiguous",
    )
    network, cache = small({"dropout": 0.5}, 3, 2), FeatureCache(tmp_path)
    before = {name: held.clone() for name, held in network.state_dict().items()}
    torch.manual_seed(1)
    drawn = torch.get_rng_state()
    found = measured_step(cache, "cpu", network, (3, 64, 2))
    assert found[0] in image_speed.FORMATS
    assert found[1] in image_speed.LAYOUTS
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(held, before[name]) for name, held in network.state_dict().items())
    monkeypatch.setattr(image_speed, "_seconds", lambda *more: pytest.fail("measured again"))
    assert measured_step(FeatureCache(tmp_path), "cpu", network, (3, 64, 2)) == found
    assert measured_step(cache, "cpu", network, (3, 99, 2), [("bf16", "contiguous")]) == ("bf16", "contiguous")


def test_a_measured_choice_is_used_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {("fp32", "contiguous"): 2.0, ("fp32", "channels-last"): 1.0}
    monkeypatch.setattr(image_speed, "_seconds", lambda network, inputs, device, *each: told[each])
    model = fitted(built(tmp_path, memory_layout="auto", cycles=1, epochs=1))
    assert model.notes_[-1] == "trained in fp32, channels-last"


def test_what_stands_beside_an_image_needs_to_be_there(tmp_path: Path) -> None:
    card = replace(image_task("multilabel")[0], tabular=())
    config = tabular_logreg.CARD.configure()
    with pytest.raises(UnavailableError, match="has nothing beside its images"):
        tabular_logreg.build.build(config, Context(card, 1, "cpu", 1, FeatureCache(tmp_path)))
