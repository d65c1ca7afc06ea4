"""ConvNeXt-Tiny: a convolutional network with the choices of vision transformers."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, model
from ..pooled import pooled_card, pooled_classifier

CARD = pooled_card(
    "convnext-tiny",
    "ConvNeXt-Tiny",
    "28 M weights, 7x7 depthwise convolutions and layer normalisation, pooled, one linear layer; AdamW with warm-up "
    "and linear decay, as its authors trained it.",
    "Liu et al. 2022, https://arxiv.org/abs/2201.03545",
    weights="imagenet",
    backbone="convnext_tiny",
    dropout=0.1,
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=0.05,
    schedule="linear",
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    return pooled_classifier(config, context)
