"""Fine-tuning other architectures and tokenizers, and what is wrong with what it is given."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.core import Kind
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.datasets.support.texts import Texts
from zoobench.zoo.core import Scalar

from .test_finetune import built, fitted, pairs

WORDS = ["fever", "cough", "rash", "fracture", "seen", "then", "the", "chest", "is", "(", ")", "and", "entity"]
UNKNOWN = "[UNK]"
LONG = "fever seen " * 300


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def network(kind: str) -> Any:
    """A random network of 2,000 words that is not BERT's kind in one respect or another."""
    import transformers as hub

    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 2000}
    torch.manual_seed(0)
    if kind == "albert":  # four layers that share their weights
        return hub.AlbertModel(hub.AlbertConfig(embedding_size=16, num_hidden_layers=4, **small))
    if kind == "roberta":  # 40 positions, two of which are never used
        return hub.RobertaModel(
            hub.RobertaConfig(num_hidden_layers=2, max_position_embeddings=40, pad_token_id=1, **small)
        )
    if kind == "t5":
        return hub.T5Model(hub.T5Config(d_model=32, num_layers=1, num_heads=2, d_kv=8, d_ff=32, vocab_size=2000))
    return hub.GPT2Model(hub.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, vocab_size=2000))


def words(folder: Path, vocabulary: dict[str, int]) -> None:
    """Write a tokenizer of whole words: no start, no end, no separator, no padding."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({UNKNOWN: 3, **vocabulary}, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue] - a setter
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token=UNKNOWN).save_pretrained(folder)


def folder_of(kind: str, folder: Path) -> str:
    words(folder, {word: 4 + number for number, word in enumerate(WORDS)})
    network(kind).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("albert", {"lora": 4}),
        ("albert", {"pooling": "pooler", "layer_decay": 0.9}),
        ("roberta", {"pooling": "pooler"}),
        ("gpt2", {"lora": 4}),
    ],
    ids=str,
)
def test_other_architectures_and_a_bare_tokenizer(kind: str, settings: dict[str, Scalar], tmp_path: Path) -> None:
    X, y = pairs()
    model = fitted(built(folder_of(kind, tmp_path / "encoder"), **settings), X, y)
    texts = [LONG, "", "fever", *X[:3]]
    types = {name: np.array(["Gene"] * 6, object) for name in X.columns}
    together = model.predict_proba(Texts(texts, types))
    alone = [model.predict_proba(Texts([text], {name: row[:1] for name, row in types.items()})) for text in texts]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    assert np.isfinite(together).all()
    assert model._layout.max_length == {"albert": 256, "roberta": 38, "gpt2": 64}[kind]
    (tmp_path / "kept").mkdir()
    model.save(tmp_path / "kept")
    again = built("no-such-owner/gone", **settings).load(tmp_path / "kept")
    np.testing.assert_array_equal(again.predict_proba(Texts(texts, types)), together)


def test_layers_that_share_weights_are_one_to_freeze(tmp_path: Path) -> None:
    _, X, y = text_task("multilabel")
    folder = folder_of("albert", tmp_path)
    fitted(built(folder, frozen_layers=1), X, y)
    with pytest.raises(UserError, match="frozen_layers=2: the encoder has 1 layers"):
        fitted(built(folder, frozen_layers=2), X, y)


def damaged(kind: str, folder: Path, encoder: str) -> str:
    """Return the name of an encoder that cannot be trained."""
    if kind == "absent":
        return str(folder / "absent")
    if kind == "decoder":
        return folder_of("t5", folder)
    shutil.copytree(encoder, folder, dirs_exist_ok=True)
    if kind == "no weights":
        (folder / "model.safetensors").unlink()
    if kind == "larger tokenizer":
        words(folder, {f"word{number}": 4 + number for number in range(40_000)})
    if kind == "sparse tokenizer":
        words(folder, {"fever": 90_000})
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "is not there"),
        ("no weights", "safetensors weights"),
        ("larger tokenizer", "tokenizer knows 40001 tokens and its network 30522"),
        ("sparse tokenizer", "gives token 90000 and its network knows 30522"),
        ("decoder", "encoder with a decoder"),
    ],
)
def test_an_encoder_that_cannot_be_trained_is_said_first(kind: str, message: str, encoder: str, tmp_path: Path) -> None:
    _, X, y = text_task("multilabel")
    steps: list[int] = []
    with pytest.raises(UserError, match=message) as raised:
        built(damaged(kind, tmp_path, encoder)).fit(X, y, report=lambda step, total, **values: steps.append(step))
    assert "\n" not in str(raised.value)
    assert not steps


def test_a_hub_id_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _, X, y = text_task("multilabel")
    with pytest.raises(UnavailableError, match=r"no-such-owner/no-such-model.*--set encoder=FOLDER"):
        fitted(built("no-such-owner/no-such-model"), X, y)


@pytest.mark.parametrize("truncation", ["head", "head-tail", "windows", "entities"])
def test_long_and_empty_texts_are_trained_on_and_answered(truncation: str, encoder: str) -> None:
    _, X, y = text_task("multilabel")
    texts = np.array(["", LONG, " \n", "\ud800", *X[4:]], dtype=object)
    model = fitted(built(encoder, truncation=truncation, max_length=16), texts[:48], y[:48])
    found = model.predict_proba(texts[:6])
    assert found.shape == (6, 3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)


@pytest.mark.parametrize("loss", ["plain", "balanced", "focal"])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_label_without_training_rows_has_an_answer(kind: Kind, loss: str, encoder: str) -> None:
    _, X, y = text_task(kind)
    if y.ndim == 2:
        y[:40, 1] = 0
    else:
        X, y = (np.concatenate([part[y != 1][:40], part[y == 1][:4]]) for part in (X, y))
    found = fitted(built(encoder, kind, loss=loss), X, y).predict_proba(X[:5])
    assert found.shape == (5, 3)
    assert np.isfinite(found).all()


def test_a_loss_that_is_not_finite_names_its_step(encoder: str) -> None:
    _, X, y = text_task("multilabel")
    with pytest.raises(FloatingPointError, match=r"loss (nan|inf) at epoch 1, step [2-9]: try a lower learning_rate"):
        fitted(built(encoder, learning_rate=1e30, batch_size=4, warmup=0.0), X, y)


def test_a_batch_that_does_not_fit_is_recorded(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoobench.zoo.networks.transformer import TextClassifier

    forward, refused = TextClassifier.forward, []

    def tight(self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        if len(input_ids) > 4:
            refused.append(len(input_ids))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, attention_mask)

    monkeypatch.setattr(TextClassifier, "forward", tight)
    _, X, y = text_task("multilabel")
    model = fitted(built(encoder, batch_size=8), X, y)
    assert refused
    assert "8 rows a step did not fit: 4 at once from step 1" in model.notes_
    assert any(note.startswith(f"a batch of {max(refused)} did not fit into memory") for note in model.notes_)
