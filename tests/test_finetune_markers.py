"""What a fine-tune trains of its embeddings, how windows count, and the number formats, on a BERT of two layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from zoobench.benchmarks.check import text_task
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.core import Kind
from zoobench.datasets.support.errors import UserError
from zoobench.zoo import number_format as number_format_module
from zoobench.zoo import recipe
from zoobench.zoo.core import Context, Scalar
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.finetune import MARKER_WORDS, FineTuned
from zoobench.zoo.losses import loss_of
from zoobench.zoo.networks.transformer import begin_rows, train_rows
from zoobench.zoo.pretrained import load
from zoobench.zoo.ragged import Rows
from zoobench.zoo.text_data import TextData
from zoobench.zoo.training import Trainer, answers

from .test_finetune import CARD, built, fitted, pairs


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def table(model: FineTuned) -> torch.Tensor:
    return model._network.encoder.get_input_embeddings().weight.detach()


def described(encoder: str) -> torch.Tensor:
    """The four rows that markers begin with: the means of the words that describe them."""
    tokenizer, network = load(encoder)
    ids = [tokenizer(words, add_special_tokens=False)["input_ids"] for words in MARKER_WORDS]
    rows = network.get_input_embeddings().weight.detach()
    return torch.stack([torch.stack([rows[number] for number in each]).mean(0) for each in ids])


@pytest.mark.parametrize(
    "settings",
    [{"lora": 4, "learning_rate": 1e-2}, {"frozen_layers": 2}, {"frozen_embeddings": True}],
    ids=["lora", "frozen-layers", "frozen-embeddings"],
)
def test_markers_learn_where_the_other_embeddings_do_not(
    settings: dict[str, Scalar], encoder: str, tmp_path: Path
) -> None:
    X, y = pairs()
    base = load(encoder)[1].get_input_embeddings().weight.detach()
    model = fitted(built(encoder, head="entities", weight_decay=0.1, **settings), X, y)
    assert len(set(model._markers)) == 4
    moved = (table(model)[list(model._markers)] - described(encoder)).abs().amax(1)
    assert (moved > 1e-5).all(), "a marker's row is the only thing that tells the network where an entity is"
    torch.testing.assert_close(table(model)[: len(base)], base, rtol=0, atol=0)
    model.save(tmp_path)
    again = built(encoder, head="entities", **settings).load(tmp_path)
    torch.testing.assert_close(table(again), table(model), rtol=0, atol=0)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_markers_begin_as_what_they_mean(encoder: str) -> None:
    X, _ = pairs()
    first, second = built(encoder), built(encoder)
    for model in (first, second):
        model._build(list(X))
    torch.testing.assert_close(table(first)[list(first._markers)], described(encoder))
    torch.testing.assert_close(table(first), table(second), rtol=0, atol=0)
    assert len({tuple(row.tolist()) for row in described(encoder)}) == 4
    wordless = torch.nn.Embedding(5, 2)
    mean = wordless.weight.detach().mean(0)
    begin_rows(wordless, (3,), ([],))
    torch.testing.assert_close(wordless.weight.detach()[3], mean)


def test_a_frozen_row_has_no_gradient() -> None:
    rows = torch.nn.Embedding(6, 3).requires_grad_(False)
    train_rows(rows, (1, 4))
    rows(torch.arange(6)).square().sum().backward()
    assert rows.weight.grad is not None
    assert rows.weight.grad.abs().sum(1).bool().tolist() == [False, True, False, False, True, False]


def windows(kind: Kind) -> TextData:
    """Three texts: of one window, of three, and of two."""
    rows = Rows.of([[5], [6], [7, 7], [8], [9], [4, 4]])
    owners = np.array([0, 1, 1, 1, 2, 2])
    targets = np.array([[1, 0], [0, 1], [1, 1]]) if kind == "multilabel" else np.array([0, 1, 1])
    return TextData(rows, owners, 0, 100, targets)


@pytest.mark.parametrize("loss", ["plain", "balanced"])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_the_windows_of_a_text_count_as_one_text(kind: Kind, loss: str) -> None:
    data = windows(kind)
    targets = np.array([[1, 0], [0, 1], [1, 1]]) if kind == "multilabel" else np.array([0, 1, 1])

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            first = input_ids[:, :1].float()
            return torch.cat([first - 6, 7 - first], 1) * self.scale

    run = Trainer(Net(), loss_of(loss, kind, targets, 2), recipe.Recipe(1, 6, 1e-3), "cpu")
    run.rows_at_once = 4  # parts of a step add up as well
    found = run._gradients(np.arange(6), data)
    assert found is not None
    logits = np.array([[first - 6, 7 - first] for first in (5, 6, 7, 8, 9, 4)], float)
    if kind == "multilabel":
        p = 1 / (1 + np.exp(-logits))
        wanted, scale = targets[data.owners], np.array([0.5, 0.5]) if loss == "balanced" else np.ones(2)
        rows = -(scale * wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean(1)
        weight = np.ones(3)
    else:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        weight = np.array([3 / 2, 3 / 4, 3 / 4]) if loss == "balanced" else np.ones(3)
        rows = -np.log(p[np.arange(6), targets[data.owners]])
    texts = np.array([rows[0], rows[1:4].mean(), rows[4:].mean()])
    assert float(found) == pytest.approx((texts * weight).sum() / weight.sum(), rel=1e-5)


def test_texts_of_one_row_need_no_counts() -> None:
    assert TextData(Rows.of([[5], [6]]), np.arange(2), 0, 100).counts is None
    np.testing.assert_allclose(windows("multiclass").counts, [1, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])


def test_padding_is_counted_as_it_is_computed(encoder: str) -> None:
    data = TextData(Rows.of([[5] * 4, [6] * 2, [7]]), np.arange(3), 0, 100)
    data.load(np.array([0, 1]))
    data.load(np.array([2]))
    assert (data.read, data.computed) == (7, 9)
    _, X, y = text_task("multilabel")
    texts = np.array([f"{text} {'seen ' * (40 * (at % 2))}" for at, text in enumerate(X[:6])], dtype=object)
    alone, together = (built(encoder, batch_size=size).fit(texts, y[:6]) for size in (1, 6))
    assert "padding was 0.0% of the tokens computed" in alone.notes_
    share = next(float(note.split()[2][:-1]) for note in together.notes_ if note.startswith("padding"))
    assert share > 30


def test_answers_that_did_not_fit_are_noted(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, X, y = text_task("multilabel")
    model = fitted(built(encoder), X, y)
    whole = model.predict_proba(X[:20])
    before = model.notes_
    monkeypatch.setattr(model._network, "forward", _tight(model._network.forward))
    np.testing.assert_allclose(model.predict_proba(X[:20]), whole, atol=1e-6)
    model.predict_proba(X[:20])
    said = "a batch of {} did not fit into memory: {} at most are answered at once"
    assert model.notes_[: len(before) + 1] == (*before, said.format(20, 10))


def _tight(forward):  # type: ignore[no-untyped-def]
    def refusing(input_ids: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
        if len(input_ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **more)

    return refusing


def test_int8_answers_do_not_depend_on_the_batch(encoder: str, tmp_path: Path) -> None:
    _, X, y = text_task("multilabel")
    model = fitted(built(encoder, preset="int8", head_rate=20.0), X, y)
    together = model.predict_proba(X)
    alone = np.concatenate([model.predict_proba(X[at : at + 1]) for at in range(8)])
    np.testing.assert_array_equal(together[:8], alone)
    exact = answers(model._network, model._data(X), model._data(X).all(), "cpu")
    difference = np.abs(together - 1 / (1 + np.exp(-exact))).max()
    assert 0 < difference < 0.1, "int8 is another answer, and near"
    model.save(tmp_path)
    np.testing.assert_array_equal(built(encoder, preset="int8").load(tmp_path).predict_proba(X), together)
    context = Context(text_task("multilabel")[0], 0, "cuda", 1, FeatureCache())
    with pytest.raises(UserError, match="quantised for a CPU"):
        FineTuned(CARD.configure("int8"), context)


@pytest.mark.parametrize("number_format", ["fp32", "bf16"])
def test_the_measured_format_is_trained_in_and_kept(
    number_format: str, encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, X, y = text_task("multilabel")
    monkeypatch.setattr(number_format_module, "fastest_format", lambda device: number_format)
    model = fitted(built(encoder, folder=tmp_path / "cache", number_format="auto"), X, y)
    assert f"trained in {number_format}" in model.notes_
    answer = model.predict_proba(X)
    exact = answers(model._network, model._data(X), model._data(X).all(), "cpu")
    assert (np.abs(answer - 1 / (1 + np.exp(-exact))).max() > 1e-5) == (number_format == "bf16")
    model.save(tmp_path)
    monkeypatch.setattr(number_format_module, "fastest_format", lambda device: "fp32")
    np.testing.assert_array_equal(built(encoder).load(tmp_path).predict_proba(X), answer)
    assert number_format_module.measured_format(model._context.features, "cpu") == number_format, (
        "one measurement a machine"
    )
