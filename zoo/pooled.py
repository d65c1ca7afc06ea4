"""Models that are a backbone and one linear layer on its pooled vector: what their cards share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .core import Choice, Config, Context, ModelCard, Range, Scalar
from .images import IMAGE, IMAGE_CHOICES

if TYPE_CHECKING:
    from .images import ImageClassifier


def pooled_card(
    name: str,
    title: str,
    description: str,
    citation: str,
    trained_on: Mapping[str, tuple[str, ...]] | None = None,
    **settings: Scalar,
) -> ModelCard:
    """Return the card of a backbone that setting ``backbone`` names; `settings` are defaults beside `IMAGE`'s."""
    chest = ("torchxrayvision",) if settings["weights"] == "chest" else ()
    return ModelCard(
        name=name,
        title=title,
        description=description,
        modality="image",
        framework="torch",
        citation=citation,
        default={**IMAGE, **settings},
        presets={
            "tabular": {"tabular": True},
            "focal": {"loss": "focal"},
            "plain": {"loss": "plain", "augmentation": "none"},
        },
        space={
            "learning_rate": Range(1e-5, 3e-3, log=True),
            "dropout": Range(0.0, 0.6),
            "loss": Choice(("plain", "balanced", "focal")),
        },
        folders=("weights",),
        choices={**IMAGE_CHOICES, "weights": (settings["weights"], "none"), "backbone": (settings["backbone"],)},
        trained_on=trained_on or {},
        requires=("torch", "torchvision", "safetensors", *chest),
        extra="vision",
    )


def pooled_classifier(config: Config, context: Context) -> ImageClassifier:
    """Build the classifier."""
    from .images import ImageClassifier
    from .networks.pyramid import pooled

    return ImageClassifier(pooled, config, context)
