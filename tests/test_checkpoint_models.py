"""Every kind of network that trains by epochs goes on from its checkpoint: same answers, history and losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from zoobench.benchmarks.check import image_task, text_task
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.zoo.core import MODELS, Context, Scalar
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.finetune import FineTuned
from zoobench.zoo.images import IMAGE, ImageClassifier

from .test_checkpoints import Hand, Killed, Told, kept_in, resumed
from .test_images import FIXED, small

pytestmark = pytest.mark.slow
T = TypeVar("T")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


TEXTS: dict[str, dict[str, Scalar]] = {
    "lanes, augmented": {"augmentation": "eda", "attention_dropout": 0.1, "dropout": 0.3},
    "lora": {"lora": 4, "learning_rate": 1e-2, "number_format": "bf16"},
    "frozen, patient": {"frozen_layers": 1, "frozen_embeddings": True, "patience": 1, "head": "improved"},
}


def unbroken_and_resumed(run: Callable[[Path | None, Hand], T], folder: Path) -> tuple[T, T]:
    """Return what a training comes to unbroken, and when it goes on in a folder where it was killed in its third epoch."""
    whole = run(None, Hand())
    with pytest.raises(Killed):
        run(folder, Hand(3))
    return whole, run(folder, Hand())


@pytest.mark.parametrize("case", TEXTS)
def test_a_fine_tune_goes_on(case: str, encoder: str, tmp_path: Path) -> None:
    card, texts, y = text_task("multilabel")
    X = np.array([f"{text} severe disease and treatment of patients" for text in texts], object)
    settings = {"epochs": 4, "learning_rate": 1e-3, "encoder": encoder, "number_format": "fp32", **TEXTS[case]}
    config = MODELS.get("minilm").card.configure("", settings)

    def run(folder: Path | None, hand: Hand) -> tuple[np.ndarray, Told, tuple[str, ...], object]:
        model = FineTuned(config, Context(card, 0, "cpu", 2, FeatureCache(None), "", kept_in(folder)))
        named = {"seed": 2, "scorer": TaskScorer("multilabel", "f1_macro"), "report": hand}
        model.fit(X[:48], y[:48], X_val=X[48:], y_val=y[48:], **named)
        return model.predict_proba(X), hand.told, model.notes_, model.losses_

    whole, again = unbroken_and_resumed(run, tmp_path)
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1] == whole[1]
    assert again[3] == whole[3]
    assert resumed(again[2]) == ["resumed at epoch 3 of 4"]
    assert [note for note in again[2] if not note.startswith("resumed")] == [*whole[2]]


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_an_image_network_goes_on(layout: str, tmp_path: Path) -> None:
    settings = {"size": 64, "cycles": 2, "epochs": 2, "batch_size": 12, "loss": "balanced", "memory_layout": layout}
    config = {**IMAGE, **FIXED, **settings, "learning_rate": 1e-2}

    def run(folder: Path | None, hand: Hand) -> tuple[np.ndarray, Told, list[str]]:
        context = Context(image_task("multilabel")[0], 5, "cpu", 2, FeatureCache(None), "", kept_in(folder))
        model = ImageClassifier(small, config, context)
        _, X, y = image_task("multilabel", 72)
        named = {"seed": 5, "scorer": TaskScorer("multilabel", "f1_macro"), "report": hand}
        model.fit(X[:48], y[:48], X_val=X[48:], y_val=y[48:], **named)
        return model.predict_proba(X), hand.told, resumed(model.notes_)

    whole, again = unbroken_and_resumed(run, tmp_path)
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1] == whole[1]
    assert again[2] == ["resumed at epoch 3 of 4"]


@pytest.mark.parametrize("name", ["bigru", "tfidf-mlp"])
def test_a_keras_network_goes_on(name: str, tmp_path: Path) -> None:
    pytest.importorskip("keras")
    entry, (card, X, y) = MODELS.get(name), text_task("multilabel")
    config = entry.card.configure("", {"epochs": 4, "patience": 4, "learning_rate": 1e-2, "dropout": 0.3})

    def run(folder: Path | None, hand: Hand) -> tuple[np.ndarray, Told, list[str]]:
        model = entry.build(config, Context(card, 11, "cpu", 1, FeatureCache(None), "", kept_in(folder)))
        named = {"seed": 11, "scorer": TaskScorer("multilabel", "f1_macro"), "report": hand}
        model.fit(X[:48], y[:48], X_val=X[48:], y_val=y[48:], **named)
        return model.predict_proba(X), hand.told, resumed(model.notes_)

    whole, again = unbroken_and_resumed(run, tmp_path)
    np.testing.assert_array_equal(again[0], whole[0])
    assert again[1] == whole[1]
    assert again[2] == ["resumed at epoch 3 of 4"]
    after = run(tmp_path, Hand())
    np.testing.assert_array_equal(after[0], whole[0])
