"""A transformer with a classification head, and the settings that reach into it by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...datasets.support.errors import UserError


class TextClassifier(nn.Module):
    """An encoder and a head: token ids to logits.

    Parameters
    ----------
    encoder
        A base network of transformers; its own pooler, if any, becomes the head's.
    head
        See `networks.heads`.
    """

    def __init__(self, encoder: Any, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return (rows, labels) logits of (rows, tokens) ids; the mask (rows, tokens) is true where a token is."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids, dtype=torch.bool)
        return self.head(hidden, attention_mask, input_ids)


def layers_of(encoder: Any) -> nn.ModuleList:
    """Return the encoder's stack of layers, lowest first, whatever the architecture calls it.

    Layers that share their weights (ALBERT's groups) are one layer of the stack.
    """
    depth = getattr(encoder.config, "num_hidden_layers", 0)
    for size in (depth, getattr(encoder.config, "num_hidden_groups", depth)):
        for module in encoder.modules():
            if isinstance(module, nn.ModuleList) and len(module) == size > 0:
                return module
    raise UserError(f"encoder of type {encoder.config.model_type}: no stack of {depth} layers found in it")


def set_attention_dropout(encoder: Any, share: float) -> None:
    """Drop `share` of the attention weights in training, wherever the architecture keeps that number."""
    for module in layers_of(encoder).modules():
        if "Attention" not in type(module).__name__:
            continue
        kept = [getattr(module, name, None) for name in ("dropout", "attention_dropout", "attn_dropout")]
        for dropout in kept:
            if isinstance(dropout, nn.Dropout):
                dropout.p = share
        if isinstance(kept[1], (int, float)):
            setattr(module, "attention_dropout", share)  # noqa: B010 - no attribute that nn.Module declares


def freeze(encoder: Any, layers: int, embeddings: bool) -> None:
    """Stop the lowest `layers` from training, and the embeddings where asked or where a layer above them is frozen."""
    stack = layers_of(encoder)
    if not 0 <= layers <= len(stack):
        raise UserError(f"frozen_layers={layers}: the encoder has {len(stack)} layers")
    for layer in stack[:layers]:
        layer.requires_grad_(False)
    if embeddings or layers:
        encoder.get_submodule(_embeddings(encoder)).requires_grad_(False)


def begin_rows(table: nn.Embedding, rows: Sequence[int], words: Sequence[Sequence[int]]) -> None:
    """Set each of `rows` to the mean of the rows of its words; of all rows where it has none."""
    with torch.no_grad():
        for row, ids in zip(rows, words, strict=True):
            table.weight[row] = table.weight[list(ids)].mean(0) if ids else table.weight.mean(0)


def train_rows(table: nn.Embedding, rows: Sequence[int]) -> None:
    """Train some rows of a frozen table: the gradient of every other row is zero.

    AdamW leaves a row without gradients as it is, unless its weights decay.
    """
    kept = torch.zeros_like(table.weight[:, :1])
    kept[list(rows)] = 1
    table.weight.requires_grad_(True)
    table.weight.register_hook(lambda gradient: gradient * kept)


def _embeddings(encoder: Any) -> str:
    """Return the name of the top module that holds the word embeddings."""
    wanted = encoder.get_input_embeddings()
    return next(name for name, part in encoder.named_children() if any(each is wanted for each in part.modules()))


def rates_by_layer(network: TextClassifier, decay: float, head: float) -> dict[str, float]:
    """Return each parameter's factor on the learning rate: `head` for the head, ``decay ** depth`` below it.

    The top layer has depth 1 less than the one under it (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146),
    starting at 0; the embeddings come below the lowest layer.
    """
    stack = layers_of(network.encoder)
    prefix = next(name for name, module in network.encoder.named_modules() if module is stack)
    below = _embeddings(network.encoder)
    layer = re.compile(rf"encoder\.{re.escape(prefix)}\.(\d+)\.")

    def factor(name: str) -> float:
        if name.startswith("head."):
            return head
        if found := layer.match(name):
            return decay ** (len(stack) - 1 - int(found.group(1)))
        return decay ** len(stack) if name.startswith(f"encoder.{below}.") else 1.0

    return {name: factor(name) for name, _ in network.named_parameters()}
