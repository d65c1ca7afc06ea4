"""DenseNet121 trained on the chest X-rays of eight corpora by torchxrayvision, and trained on."""

from __future__ import annotations

from typing import Any

from ..core import Config, Context, model
from ..pooled import pooled_card, pooled_classifier

CARD = pooled_card(
    "xrv-densenet121",
    "DenseNet121 of torchxrayvision",
    "Weights learnt on chest X-rays of eight corpora (densenet121-res224-all), pooled, one linear layer, all trained "
    "on. Caution: NIH ChestX-ray14 is one of the eight, and so are PadChest and Open-i: on their images, test folds "
    "included, these weights have been trained, and a score there says nothing of new patients. A file of weights is "
    "marked like them.",
    "Cohen et al. 2022, TorchXRayVision, https://arxiv.org/abs/2111.00595",
    trained_on={"weights": ("nih-chest-xray14", *(f"chestmnist-{size}" for size in (28, 64, 128, 224)))},
    weights="chest",
    backbone="xrv-densenet121",
    learning_rate=1e-4,
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    return pooled_classifier(config, context)
