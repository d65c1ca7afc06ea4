"""Image classifiers on generated images: what they learn, say, measure, keep and refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from zoobench.benchmarks.check import image_task
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.datasets.core import Kind
from zoobench.datasets.images import Images
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.files import read_json, write_json
from zoobench.datasets.support.thinning import KEPT_ALONE
from zoobench.datasets.tasks import nih_chest_xray14
from zoobench.datasets.tasks.nih_chest_xray14 import CARD as NIH
from zoobench.zoo import image_speed
from zoobench.zoo.balancing import Balanced, balanced, unbalanced
from zoobench.zoo.class_weights import log_weights
from zoobench.zoo.core import MODELS, Config, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.image_data import ImageData, Scale
from zoobench.zoo.image_speed import fastest, measured_step
from zoobench.zoo.images import (
    IMAGE,
    PUBLISHED,
    PUBLISHED_WEIGHTS,
    ImageClassifier,
    losses_of,
    published_weights,
)
from zoobench.zoo.models import tabular_logreg
from zoobench.zoo.networks.backbones import Backbone
from zoobench.zoo.networks.pyramid import Fusion, ImageNetwork
from zoobench.zoo.training import computing_in, seeded

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
    scores = {"f1_macro", "precision_macro", "recall_macro", "roc_auc_macro"}
    assert all(set(values) == {"loss", "score", "val_loss", *scores} for values in valued)
    assert all(values["score"] == values["f1_macro"] for values in valued)
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
    losses = losses_of({**IMAGE, "loss": "published"}, NIH, none, unbalanced(2))
    logits, targets = torch.zeros(1, 14), torch.zeros(1, 14)
    targets[0, at["Pneumonia"]] = 1
    found = [float(loss.total(logits, targets)) for loss in losses]
    np.testing.assert_allclose(np.diff(found), [0, (4.5 - 3.0943) * np.log(2) / 14], rtol=1e-4, atol=1e-7)
    other = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], np.uint8)
    np.testing.assert_allclose(published_weights(("Mass", "Rib"), other, 2), [np.log(3), 1], rtol=1e-6)
    spelled = published_weights(("Pleural Thickening", "pleural-thickening", "Pleural"), np.zeros((2, 3), np.uint8), 0)
    np.testing.assert_allclose(spelled, 2.4494)
    with pytest.raises(UserError, match="multi-label"):
        losses_of({**IMAGE, "loss": "published"}, replace(NIH, kind="multiclass"), np.array([0, 1]), unbalanced(2))


def test_the_formula_gives_the_published_weights_of_the_rows_that_the_original_counted() -> None:
    known = nih_chest_xray14.entries(nih_chest_xray14.metadata())
    targets, rng = nih_chest_xray14.targets_of(known.findings), np.random.default_rng(0)
    kept = np.ones(len(targets), bool)
    for finding, share in KEPT_ALONE.items():
        rows = rng.permutation(np.flatnonzero(known.findings == finding))
        kept[rows[round(share * len(rows)) :]] = False
    fold = targets[kept & (rng.random(len(kept)) < 0.72)]
    grown = balanced(fold, NIH.labels, 0, thinned=True).grown
    printed = np.array([PUBLISHED_WEIGHTS[label.casefold()] for label in NIH.labels])
    np.testing.assert_allclose(log_weights(fold[grown]), printed, atol=0.2)
    assert np.abs(log_weights(fold) - printed).max() > 2


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": 63}, "size=63 is not from 64 to 4,096"),
        ({"number_format": "fp8"}, "unknown number_format"),
        ({"memory_layout": "last"}, "unknown memory_layout"),
        ({"augmentation": "mirror"}, "unknown augmentation"),
        ({"balance": "smote"}, "unknown balance"),
        ({"levels": "c2"}, "unknown levels"),
        ({"weights": "a/b.pt"}, r"weights file a/b\.pt is not there: give a file, imagenet or none"),
        ({"weights": "imagnet"}, r"unknown weights of densenet121-fpn-tabular 'imagnet': did you mean 'imagenet'\?"),
        ({"weights": "chest"}, "unknown weights of .* 'chest'"),
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
    shown = Balanced(np.array([7, 7, 3]), np.array([False, True, False]), np.array([7, 3]))
    data = ImageData(X, np.zeros((48, 3), np.float32), y, shown)
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
    found = measured_step(cache, "cpu", network, (3, 64, 2, 4))
    assert found[0] in image_speed.FORMATS
    assert found[1] in image_speed.LAYOUTS
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(held, before[name]) for name, held in network.state_dict().items())
    monkeypatch.setattr(image_speed, "_step", lambda *more: pytest.fail("measured again"))
    assert measured_step(FeatureCache(tmp_path), "cpu", network, (3, 64, 2, 160)) == found
    assert measured_step(cache, "cpu", network, (3, 99, 2, 4), [("bf16", "contiguous")]) == ("bf16", "contiguous")


def test_a_measured_step_that_does_not_fit_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def step(network: Any, inputs: tuple[int, ...], device: str, *each: str) -> Callable[[], float]:
        def seconds() -> float:
            tried.append(inputs[0])
            if inputs[0] > 1:
                raise MemoryError
            return 2.0 if each[1] == "contiguous" else 1.0

        return seconds

    monkeypatch.setattr(image_speed, "_step", step)
    network, cache = small({"dropout": 0.5}, 3, 2), FeatureCache(tmp_path)
    assert measured_step(cache, "cpu", network, (3, 64, 2, 3)) == ("fp32", "channels-last")
    assert tried == [3, *[1] * 4 * 4], "four formats and layouts, in four turns"


def test_a_measured_choice_is_used_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {("fp32", "contiguous"): 2.0, ("fp32", "channels-last"): 1.0}
    monkeypatch.setattr(image_speed, "_step", lambda network, inputs, device, *each: lambda: told[each])
    model = fitted(built(tmp_path, memory_layout="auto", cycles=1, epochs=1))
    assert model.notes_[-1] == "trained in fp32, channels-last"


def test_what_stands_beside_an_image_needs_to_be_there(tmp_path: Path) -> None:
    card = replace(image_task("multilabel")[0], tabular=())
    config = tabular_logreg.CARD.configure()
    with pytest.raises(UnavailableError, match="has nothing beside its images"):
        tabular_logreg.build.build(config, Context(card, 1, "cpu", 1, FeatureCache(tmp_path)))


def test_what_is_asked_for_and_not_there_is_said(tmp_path: Path) -> None:
    card, X, y = image_task("multilabel")
    bare = Images(X.load(), np.arange(len(X)), np.zeros((len(X), 0), np.float32))
    model = built(tmp_path, tabular=True, size=80, cycles=1, epochs=1)
    assert model.fit(bare, y).notes_[:2] == (
        "nothing stands beside the images of this task: tabular changes nothing",
        f"images are kept at {X.side} pixels: they were enlarged to 80",
    )
    assert card.tabular


def test_what_was_fastest_on_another_device_is_not_taken_over(tmp_path: Path) -> None:
    model = fitted(built(tmp_path, cycles=1, epochs=1, number_format="bf16"))
    folder = tmp_path / "artefact"
    folder.mkdir()
    model.save(folder)
    assert built(tmp_path).load(folder)._format == "bf16"
    kept = read_json(folder / "images.json")
    write_json(folder / "images.json", {**kept, "device": "cuda"})
    assert built(tmp_path).load(folder)._format == "fp32"


def test_bf16_moves_no_pixel(tmp_path: Path) -> None:
    _, X, _ = image_task("multilabel")
    viewed = fitted(built(tmp_path, cycles=1, epochs=1))._network.train()
    seen: list[Any] = []
    viewed.network.register_forward_pre_hook(lambda network, given: seen.append(given[0].float()))
    inputs = {"pixels": torch.from_numpy(X[:4].load()), "tabular": torch.zeros(4, 3)}
    for number_format in ("fp32", "bf16"):
        with seeded(1, "cpu"), computing_in(number_format, "cpu"):
            viewed(**inputs)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_gradients_are_clipped_where_it_is_asked_for(tmp_path: Path) -> None:
    free, bound = (fitted(built(tmp_path, cycles=1, epochs=1, clip=clip)) for clip in (0.0, 1e-6))
    assert free._recipe().clip == 0
    first = fitted(built(tmp_path, cycles=1, epochs=1, learning_rate=1e-30))._network.state_dict()

    def moved(model: ImageClassifier) -> float:
        name = "network.head.answer.weight"
        return float((model._network.state_dict()[name] - first[name]).abs().max())

    assert moved(free) > 0
    assert moved(bound) != moved(free)


def test_rows_of_images_pass_to_another_process_by_the_name_of_their_file(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.arange(200 * 64 * 64, dtype=np.int64).astype(np.uint8).reshape(200, 64, 64))
    store = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    held = Images(store, np.array([7, 3]), np.zeros((2, 1), np.float32), ("age",))
    passed = ForkingPickler.dumps(held)
    assert len(passed) < 2000
    again = ForkingPickler.loads(passed)
    np.testing.assert_array_equal(again.load(), held.load())
    assert isinstance(again._store, np.memmap)
    loose = Images(held.load(), np.array([1]), np.zeros((1, 0), np.float32))
    np.testing.assert_array_equal(ForkingPickler.loads(ForkingPickler.dumps(loose)).load(), loose.load())
