"""Residual networks of 18 and 50 layers: the baselines of MedMNIST."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, Model, model
from ..pooled import pooled_card, pooled_classifier


def _resnet(layers: int) -> Model:
    card = pooled_card(
        f"resnet{layers}",
        f"ResNet-{layers}",
        f"{layers} layers with residual connections, pooled, one linear layer: the architecture of MedMNIST's baseline "
        "(Yang et al. 2023, doi:10.1038/s41597-022-01721-8), trained by system 2's recipe.",
        "He et al. 2016, https://arxiv.org/abs/1512.03385",
        weights="imagenet",
        backbone=f"resnet{layers}",
        dropout=0.0,
    )

    @model(card)
    def build(config: Config, context: Context) -> Any:
        return pooled_classifier(config, context)

    return build


RESNET18, RESNET50 = _resnet(18), _resnet(50)
