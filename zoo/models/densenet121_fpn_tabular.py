"""DenseNet121 with a feature pyramid, fused with age, view and sex: the published system 2, and its ablations."""

from __future__ import annotations

from typing import Any

from ..core import Choice, Config, Context, ModelCard, Range, model
from ..images import IMAGE, IMAGE_CHOICES, PUBLISHED

LEVELS = ("c3+c4+c5", "c3+c4", "c3+c5", "c4+c5", "c3", "c4", "c5", "none")

CARD = ModelCard(
    name="densenet121-fpn-tabular",
    title="DenseNet121 + feature pyramid + tabular",
    description="DenseNet121's last three stages joined by a feature pyramid, pooled to 768 numbers, and fused with "
    "what is known beside the image. Preset published also balances the training fold and weighs the losses as the "
    "original did; its mirror copies put the heart on the other side. The width of the last dense layer (128) and the "
    "dropout (0.3) are not published.",
    modality="image",
    framework="torch",
    citation="Lin et al. 2017, https://arxiv.org/abs/1612.03144; Huang et al. 2017, https://arxiv.org/abs/1608.06993",
    default={**IMAGE, "levels": "c3+c4+c5", "tabular": True},
    presets={
        "published": PUBLISHED,
        "no-tabular": {"tabular": False},
        "no-fpn": {"levels": "none"},
        "chexnet": {"levels": "none", "tabular": False},
        "c5": {"levels": "c5"},
        "c4-c5": {"levels": "c4+c5"},
        "focal": {"loss": "focal"},
        "asymmetric": {"loss": "asymmetric"},
    },
    space={
        "learning_rate": Range(1e-4, 3e-3, log=True),
        "dropout": Range(0.0, 0.6),
        "loss": Choice(("plain", "balanced", "focal")),
        "levels": Choice(("c3+c4+c5", "c4+c5", "c5", "none")),
    },
    folders=("weights",),
    choices={**IMAGE_CHOICES, "weights": ("imagenet", "none"), "levels": LEVELS},
    requires=("torch", "torchvision", "safetensors"),
    extra="vision",
)


@model(CARD)
def build(config: Config, context: Context) -> Any:
    """Build the classifier."""
    from ..images import ImageClassifier
    from ..networks.pyramid import densenet_pyramid

    return ImageClassifier(densenet_pyramid, config, context)
