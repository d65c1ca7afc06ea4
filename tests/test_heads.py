"""Heads: their shapes, that each part of them matters, and that padding does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import Config
from zoobench.zoo.networks.heads import HEADS, POOLINGS, Entities, First, Improved, Mean, Pooler, head_of
from zoobench.zoo.networks.transformer import (
    TextClassifier,
    freeze,
    layers_of,
    rates_by_layer,
    set_attention_dropout,
)
from zoobench.zoo.pretrained import load
from zoobench.zoo.tokens import add_markers

SETTINGS: Config = {"head": "linear", "pooling": "mean", "attention": True, "dropout": 0.2}
STARTS = (1037, 1038)
IDS = torch.tensor([[101, 1037, 2054, 1038, 3000, 102], [101, 1037, 1038, 102, 0, 0]])
MASK = IDS != 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def encoder(folder: str) -> Any:
    return load(folder)[1]


def small(kind: str) -> Any:
    """A random network of another architecture."""
    from transformers import DistilBertConfig, DistilBertModel, ModernBertConfig, ModernBertModel

    torch.manual_seed(0)
    if kind == "distilbert":
        return DistilBertModel(DistilBertConfig(vocab_size=4000, dim=32, n_layers=3, n_heads=2, hidden_dim=64))
    config = ModernBertConfig(
        vocab_size=4000, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        pad_token_id=0, bos_token_id=101, eos_token_id=102, cls_token_id=101, sep_token_id=102,
    )  # fmt: skip
    return ModernBertModel(config)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("head", HEADS)
def test_shapes_padding_and_gradients(head: str, pooling: str, encoder: Any) -> None:
    """Three more columns of padding, and a neighbour that is longer, change no logit; every weight learns."""
    network = TextClassifier(encoder, head_of({**SETTINGS, "head": head, "pooling": pooling}, encoder, 5, STARTS))
    network.eval()
    with torch.inference_mode():
        logits = network(IDS, MASK)
        assert logits.shape == (2, 5)
        wide = nn.functional.pad(IDS, (0, 3))
        torch.testing.assert_close(network(wide, wide != 0), logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(network(IDS[1:, :4]), logits[1:], rtol=0, atol=1e-5)
        torch.testing.assert_close(network(IDS[:1]), logits[:1], rtol=0, atol=1e-5)
    network.train()(IDS, MASK).square().sum().backward()
    still = [name for name, held in network.named_parameters() if held.grad is None or not held.grad.abs().sum()]
    assert not [name for name in still if name.startswith("head.")]


def test_the_improved_head_narrows_by_half_and_half(encoder: Any) -> None:
    head = head_of({**SETTINGS, "head": "improved", "pooling": "cls"}, encoder, 4, ())
    assert isinstance(head, Improved)
    linear = [(layer.in_features, layer.out_features) for layer in head.mlp if isinstance(layer, nn.Linear)]
    assert linear == [(32, 16), (16, 8), (8, 4)]
    names = [type(layer).__name__ for layer in head.mlp]
    assert names == ["Linear", "ReLU", "LayerNorm", "Dropout"] * 2 + ["Linear"]
    for layer in (layer for layer in head.mlp if isinstance(layer, nn.Linear)):
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert bound * 0.8 < float(layer.weight.detach().abs().max()) <= bound, "Xavier's uniform"
        assert not layer.bias.detach().any()


def test_extra_attention_and_its_residual_matter() -> None:
    torch.manual_seed(3)
    hidden, mask = torch.randn(2, 6, 32), torch.ones(2, 6, dtype=torch.bool)
    head = Improved(Mean(), 32, 4, 0.2, 2).eval()
    assert head.attention is not None
    assert head.norm is not None
    full = head(hidden, mask, IDS)
    silent = Improved(Mean(), 32, 4, 0.2, 2).eval()
    silent.load_state_dict(head.state_dict())
    assert silent.attention is not None
    nn.init.zeros_(silent.attention.out_proj.weight)
    nn.init.zeros_(silent.attention.out_proj.bias)
    residual = silent(hidden, mask, IDS)
    assert float((full - residual).detach().abs().max()) > 1e-3, "without attention's answer the logits are others"
    # With a silent attention the residual alone goes on: normalised, pooled, narrowed.
    torch.testing.assert_close(residual, head.mlp(head.norm(hidden).mean(1)))
    bare = Improved(Mean(), 32, 4, 0.2, 0).eval()
    bare.load_state_dict(head.state_dict(), strict=False)
    assert float((bare(hidden, mask, IDS) - residual).detach().abs().max()) > 1e-3
    assert not any("attention" in name for name, _ in bare.named_parameters())


def test_the_printed_head_drops_logits(encoder: Any) -> None:
    head = head_of({**SETTINGS, "head": "improved-printed", "dropout": 0.8}, encoder, 400, ())
    hidden, mask = torch.randn(1, 6, 32), torch.ones(1, 6, dtype=torch.bool)
    assert abs(float((head.train()(hidden, mask, IDS) == 0).float().mean()) - 0.4) < 0.1
    assert not (head.eval()(hidden, mask, IDS) == 0).any()


def test_the_pooler_is_the_encoders_own(encoder: Any) -> None:
    own = {name: value.clone() for name, value in encoder.pooler.dense.state_dict().items()}
    expected = encoder(input_ids=IDS, attention_mask=MASK).pooler_output
    head = head_of({**SETTINGS, "pooling": "pooler"}, encoder, 4, ())
    assert encoder.pooler is None
    pooling = head.get_submodule("pooling")
    assert isinstance(pooling, Pooler)
    torch.testing.assert_close(dict(pooling.dense.state_dict()), own)
    hidden = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(pooling(hidden, MASK), expected)


def test_entities_are_pooled_where_the_markers_stand(folder: str) -> None:
    """Against a search for the words in the decoded tokens: every mention's opening marker, and no other token."""
    tokenizer, _ = load(folder)
    text = "In [E1] rats [/E1] the [E2] [E1] rat [/E1] kidney [/E2] and a [E2] lung [/E2] [E1] failed [/E1]"
    markers = add_markers(tokenizer, [text])
    batch = tokenizer([text, "[E1] a [/E1] [E2] b [/E2]"], padding=True, return_tensors="pt")
    ids = batch["input_ids"]
    head = Entities(First(), 8, 3, 0.0, markers[::2]).eval()
    seen: list[torch.Tensor] = []
    head.entity.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    hidden = torch.randn(2, ids.shape[1], 8)
    head(hidden, batch["attention_mask"], ids)
    for entity, marker in enumerate(("[E1]", "[E2]")):
        for row in range(2):
            words = tokenizer.decode(ids[row]).replace("[", " [").split()
            names = tokenizer.convert_ids_to_tokens(ids[row].tolist())
            at = [place for place, name in enumerate(names) if name == marker]
            assert len(at) == words.count(marker) == text.count(marker) if row == 0 else len(at) == 1
            torch.testing.assert_close(seen[entity][row], torch.tanh(hidden[row, at].mean(0)))


def test_entities_without_markers_are_refused(encoder: Any) -> None:
    with pytest.raises(UserError, match="hold no"):
        head_of({**SETTINGS, "head": "entities"}, encoder, 4, ())
    for name, words in (("head", "unknown head 'deep'"), ("pooling", "unknown pooling 'deep'")):
        with pytest.raises(UserError, match=words):
            head_of({**SETTINGS, name: "deep"}, encoder, 4, STARTS)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_settings_reach_the_layers_of_each_architecture(kind: str, encoder: Any) -> None:
    encoder = encoder if kind == "bert" else small(kind)
    network = TextClassifier(encoder, head_of({**SETTINGS, "pooling": "pooler"}, encoder, 4, ()))
    depth = encoder.config.num_hidden_layers
    assert len(layers_of(encoder)) == depth
    rates = rates_by_layer(network, 0.5, 7.0)
    weights = encoder.get_input_embeddings().weight
    assert rates[next(name for name, held in network.named_parameters() if held is weights)] == 0.5**depth
    for number, layer in enumerate(layers_of(encoder)):
        held = {id(parameter) for parameter in layer.parameters()}
        found = {rates[name] for name, parameter in network.named_parameters() if id(parameter) in held}
        assert found == {0.5 ** (depth - 1 - number)}
    assert {rate for name, rate in rates.items() if name.startswith("head.")} == {7.0}

    freeze(encoder, 1, False)
    frozen = {name for name, held in network.named_parameters() if not held.requires_grad}
    lowest = {id(parameter) for parameter in layers_of(encoder)[0].parameters()} | {id(weights)}
    assert lowest <= {id(dict(network.named_parameters())[name]) for name in frozen}
    assert not any(not parameter.requires_grad for parameter in layers_of(encoder)[1].parameters())
    with pytest.raises(UserError, match="layers"):
        freeze(encoder, depth + 1, False)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_attention_dropout_is_set_where_it_acts(kind: str, encoder: Any) -> None:
    """With every other dropout off, two training passes differ if and only if attention weights are dropped."""
    encoder = encoder if kind == "bert" else small(kind)
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for share, differ in ((0.5, True), (0.0, False)):
        set_attention_dropout(encoder, share)
        first, second = (encoder(input_ids=IDS).last_hidden_state for _ in range(2))
        assert (float((first - second).detach().abs().max()) > 1e-4) == differ
