"""Fine-tuned transformers from texts to probabilities, on a BERT of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.scoring import TaskScorer
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.core import Kind
from zoobench.datasets.support.texts import Texts
from zoobench.zoo.core import MODELS, Context, Scalar
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.finetune import FineTuned
from zoobench.zoo.networks.adapters import add_adapters
from zoobench.zoo.networks.heads import HEADS
from zoobench.zoo.pretrained import load
from zoobench.zoo.training import answers

CARD = MODELS.get("minilm").card
RARE = "[E1] cough [/E1] then [E2] rash [/E2]"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def built(
    encoder: str, kind: Kind = "multilabel", preset: str = "", folder: Path | None = None, **settings: Scalar
) -> FineTuned:
    exact = {} if preset else {"number_format": "fp32"}  # bf16 rounds by the shape of a batch
    quick = {"epochs": 1, "learning_rate": 1e-3, "encoder": encoder, **exact, **settings}
    return FineTuned(CARD.configure(preset, quick), Context(text_task(kind)[0], 0, "cpu", 1, FeatureCache(folder)))


def fitted(model: FineTuned, X: np.ndarray, y: np.ndarray, seed: int = 2) -> FineTuned:
    scorer = TaskScorer("multilabel" if y.ndim == 2 else "multiclass", "f1_macro")
    return model.fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:], seed=seed, scorer=scorer)


def pairs(kind: Kind = "multilabel") -> tuple[Texts, np.ndarray]:
    """Texts with a marked pair in their middle, and its types."""
    _, X, y = text_task(kind)
    texts = [f"{text} {RARE} {text}" for text in X]
    types = {f"type_{number}": np.array([f"Type_{number}", "Gene"] * (len(X) // 2), object) for number in (1, 2)}
    return Texts(texts, types), y


def weights(network: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("head", HEADS)
def test_padding_changes_no_probability(head: str, encoder: str) -> None:
    X, y = pairs()
    model = fitted(built(encoder, head=head), X, y)
    short = Texts([RARE, f"fever {RARE}"], {name: column[:2] for name, column in X.columns.items()})
    alone = np.concatenate([model.predict_proba(short[:1]), model.predict_proba(short[1:])])
    beside = model.predict_proba(
        Texts([*short, *X[:6]], {name: column[[0, 1, *range(6)]] for name, column in X.columns.items()})
    )
    np.testing.assert_allclose(beside[:2], alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_it_learns_and_repeats(kind: Kind, encoder: str) -> None:
    _, X, y = text_task(kind)
    settings: dict[str, Scalar] = {
        "epochs": 8,
        "learning_rate": 1e-2,
        "head_rate": 1.0,
        "batch_size": 4,
        "dropout": 0.0,
        "patience": 8,
    }
    learnt = fitted(built(encoder, kind, **settings), X, y)
    assert TaskScorer(kind, "f1_macro")(y[:40], learnt.predict_proba(X[:40])) > 0.9
    short = {**settings, "epochs": 1}
    first, second, other = (fitted(built(encoder, kind, **short), X, y, seed=seed) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert np.abs(other.predict_proba(X) - first.predict_proba(X)).max() > 1e-4


@pytest.mark.parametrize("truncation", ["windows", "entities"])
def test_an_artefact_needs_neither_hub_nor_first_encoder(truncation: str, encoder: str, tmp_path: Path) -> None:
    X, y = pairs()
    model = fitted(built(encoder, head="entities", truncation=truncation, max_length=24), X, y)
    model.save(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]
    again = built("no-such-owner/gone", head="entities", truncation=truncation, max_length=24).load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.n_parameters == model.n_parameters


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_windows_are_pooled_by_text(kind: Kind, pooling: str, encoder: str) -> None:
    _, X, y = text_task(kind)
    texts = np.array([*(f"{text} " * 3 for text in X[:50]), *X[50:]], dtype=object)
    model = fitted(built(encoder, kind, truncation="windows", window_pooling=pooling, max_length=16), texts, y)
    data = model._data(texts[45:55])
    logits = torch.from_numpy(answers(model._network, data, data.all(), "cpu"))
    pieces = (logits.sigmoid() if kind == "multilabel" else logits.softmax(1)).numpy()
    found = model.predict_proba(texts[45:55])
    assert len(pieces) > 15
    for text in range(10):
        own = pieces[data.owners == text]
        expected = own.mean(0) if pooling == "mean" else own.max(0)
        expected = expected / expected.sum() if kind == "multiclass" else expected
        np.testing.assert_allclose(found[text], expected, atol=1e-6)


def test_a_pair_beyond_the_window_is_still_read(encoder: str) -> None:
    X, y = pairs()
    far = Texts([f"{'seen ' * 60}{RARE}", f"{'seen ' * 60}[E1] pain [/E1] [E2] rash [/E2]"], {})
    kept = fitted(built(encoder, truncation="entities", max_length=32), X, y).predict_proba(far)
    assert np.abs(kept[0] - kept[1]).max() > 1e-5
    lost = fitted(built(encoder, truncation="head", max_length=32), X, y).predict_proba(far)
    np.testing.assert_allclose(lost[0], lost[1], atol=1e-6)


def test_types_lead_a_pair_where_they_are_known(encoder: str) -> None:
    X, y = pairs()
    model = fitted(built(encoder), X, y)
    other = Texts(np.array(X), {name: column[::-1] for name, column in X.columns.items()})
    assert np.abs(model.predict_proba(other) - model.predict_proba(X)).max() > 1e-5
    assert model.predict_proba(np.array(X)).shape == (len(X), 3), "plain texts are answered as well"
    plain = fitted(built(encoder, pair_types=False), X, y)
    np.testing.assert_array_equal(plain.predict_proba(other), plain.predict_proba(X))


def test_lora_trains_adapters_and_head_alone(encoder: str) -> None:
    _, network = load(encoder)
    network.pooler = None
    add_adapters(network, 4, 0.1)
    trained = {name for name, held in network.named_parameters() if held.requires_grad}
    assert trained
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)
    linear = {name for name, module in load(encoder)[1].named_modules() if isinstance(module, torch.nn.Linear)}
    assert {name.partition(".lora_")[0] for name in trained} == linear - {"pooler.dense"}


def test_lora_is_merged_into_a_plain_network(encoder: str, tmp_path: Path) -> None:
    _, X, y = text_task("multilabel")
    base = weights(load(encoder)[1])
    model = fitted(built(encoder, preset="lora", epochs=2, learning_rate=1e-2), X, y)
    assert model.n_parameters == fitted(built(encoder), X, y).n_parameters
    changed = {
        name for name, value in model._network.encoder.state_dict().items() if not torch.equal(value, base[name])
    }
    assert changed
    assert all(name.endswith(("query.weight", "key.weight", "value.weight", "dense.weight")) for name in changed)
    model.save(tmp_path)
    again = built(encoder, preset="lora").load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_frozen_layers_are_unchanged(encoder: str) -> None:
    _, X, y = text_task("multilabel")
    base = weights(load(encoder)[1])
    model = fitted(built(encoder, frozen_layers=1), X, y)
    for name, value in model._network.encoder.state_dict().items():
        assert torch.equal(value, base[name]) == (not name.startswith("encoder.layer.1.")) or "key.bias" in name
    model = fitted(built(encoder, frozen_embeddings=True), X, y)
    changed = {name for name, value in weights(model._network.encoder).items() if not torch.equal(value, base[name])}
    assert any(name.startswith("encoder.layer.0.") for name in changed)
    assert not any(name.startswith("embeddings.") for name in changed)


def test_each_epoch_draws_its_own_texts(encoder: str) -> None:
    _, X, y = text_task("multilabel")
    texts = [f"{text} severe disease and treatment of patients" for text in X]
    model = built(encoder, augmentation="eda")
    model._build(texts)
    data = model._training_data(texts, None, y, 7)
    original = [list(row) for row in data.rows]
    drawn = []
    for epoch in (0, 1, 0):
        data.plan(epoch, 8)
        drawn.append([list(row) for row in data.rows])
    assert drawn[0] == drawn[2] != drawn[1]
    changed = sum(left != right for left, right in zip(drawn[0], original, strict=True))
    assert 0 < changed < 0.4 * len(texts), "30 % are drawn, and a third of those is left as it is"


def test_ids_are_shared_between_cells(encoder: str, tmp_path: Path) -> None:
    texts = [f"fever {number}" for number in range(80)]
    sizes = []
    for length, wanted in ((16, texts), (8, texts[::-1])):
        model = built(encoder, folder=tmp_path, max_length=length)
        model._build(wanted)
        before = model._context.features.charged
        model._tokens(wanted)
        assert model._context.features.charged > before, "each cell pays for the ids that it uses"
        sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*")))
    assert sizes[0] == sizes[1]


def test_notes_tell_padding_and_early_stops(encoder: str) -> None:
    _, X, y = text_task("multilabel")
    model = built(encoder, epochs=9, patience=1, learning_rate=1e-9, max_length=128)
    fitted(model, X, y)
    assert model.notes_[0] == "stopped after epoch 2 of 9: none better than 1"
    assert "padding was" in model.notes_[1]
    assert model.notes_[2] == "trained in fp32"


def test_an_empty_fold_has_an_answer(encoder: str) -> None:
    _, X, y = text_task("multilabel")
    assert fitted(built(encoder), X, y).predict_proba(X[:0]).shape == (0, 3)


def test_presets_are_the_published_recipes() -> None:
    wanted = ("epochs", "dropout", "attention", "learning_rate", "weight_decay", "accumulation", "patience")
    table = {
        "conservative": (3, 0.20, True, 2e-5, 0.01, 2, 3),
        "moderate": (4, 0.30, True, 1.5e-5, 0.02, 3, 2),
        "aggressive": (3, 0.40, False, 1e-5, 0.03, 4, 1),
        "ensemble": (4, 0.25, True, 2.5e-5, 0.015, 2, 2),
    }
    for preset, expected in table.items():
        config = CARD.configure(preset)
        assert tuple(config[name] for name in wanted) == expected
        assert (config["head"], config["loss"], config["augmentation"]) == ("improved", "balanced", "eda")
    guide = CARD.configure("guide")
    names = ("max_length", "epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "loss", "head_rate")
    assert tuple(guide[name] for name in names) == (128, 4, 16, 2e-5, 500.0, 0.01, "balanced", 1.0)
