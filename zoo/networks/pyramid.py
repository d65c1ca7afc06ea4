"""Networks that see an image and the numbers beside it: DenseNet with a feature pyramid, or one pooled vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ...datasets.support.errors import unknown_name
from ..core import Config
from .backbones import Backbone, backbone

STAGES = {
    "c3": ("features.denseblock2", 512),
    "c4": ("features.denseblock3", 1024),
    "c5": ("features.denseblock4", 1024),
}
"""DenseNet121's stages by their name in a pyramid: the torchvision node, and its channels."""
MAPS, SEEN, BESIDE, FUSED = 256, 256, 8, 128
"""Channels of a pyramid's maps; widths of the dense layers on the image, on the numbers, and on both. The last is
not published."""


class Pyramid(nn.Module):
    """DenseNet121's stages joined by a feature pyramid (Lin et al. 2017, https://arxiv.org/abs/1612.03144), pooled.

    Each stage is brought to 256 channels (1x1), the deeper one is added twice as large, and a 3x3 convolution smooths
    the sum.

    Parameters
    ----------
    densenet
        torchvision's DenseNet121; what no level reads is left out.
    levels
        Which of c3, c4 and c5 it has.
    """

    def __init__(self, densenet: nn.Module, levels: Sequence[str] = tuple(STAGES)) -> None:
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor
        from torchvision.ops import FeaturePyramidNetwork

        if strange := sorted(set(levels) - set(STAGES)):
            raise unknown_name("pyramid level", strange[0], STAGES)
        names = [name for name in STAGES if name in levels]  # from the largest map to the smallest
        self.stages = create_feature_extractor(densenet, {STAGES[name][0]: name for name in names})
        self.join = FeaturePyramidNetwork([STAGES[name][1] for name in names], MAPS)
        self.width = MAPS * len(names)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the smoothed maps of (n, 3, side, side) images by level.

        Those of c3 are (n, 256, side // 8, side // 8), those of each deeper level half as large, rounded down.
        """
        return self.join(self.stages(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the (n, 256 x levels) means of the maps."""
        return torch.cat([found.mean((2, 3)) for found in self.maps(images).values()], dim=1)


class Fusion(nn.Module):
    """An image's vector and the numbers beside it to logits, by dense layers.

    Parameters
    ----------
    columns
        How many numbers there are; 0 reads none.
    """

    def __init__(self, width: int, labels: int, columns: int, dropout: float) -> None:
        super().__init__()
        self.seen = nn.Linear(width, SEEN)
        self.beside = nn.Linear(columns, BESIDE) if columns else None
        self.fused = nn.Linear(SEEN + (BESIDE if columns else 0), FUSED)
        self.dropout, self.answer = nn.Dropout(dropout), nn.Linear(FUSED, labels)

    def forward(self, vectors: Tensor, tabular: Tensor) -> Tensor:
        """Return (n, labels) logits of (n, width) vectors and (n, columns) numbers."""
        found = relu(self.seen(vectors))
        if self.beside is not None:
            found = torch.cat([found, relu(self.beside(tabular))], dim=1)
        return self.answer(self.dropout(relu(self.fused(found))))


class Linear(nn.Module):
    """An image's vector to logits by one layer; the numbers beside it are not read."""

    def __init__(self, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.answer = nn.Dropout(dropout), nn.Linear(width, labels)

    def forward(self, vectors: Tensor, tabular: Tensor) -> Tensor:
        """Return (n, labels) logits of (n, width) vectors."""
        del tabular
        return self.answer(self.dropout(vectors))


class ImageNetwork(nn.Module):
    """What looks, and what answers.

    Attributes
    ----------
    mean, std
        Of each channel of the images in [0, 1] that it reads, by which they are normalised.
    """

    def __init__(self, eye: nn.Module, head: nn.Module, read: Backbone) -> None:
        super().__init__()
        self.eye, self.head = eye, head
        self.mean, self.std = read.mean, read.std

    def forward(self, images: Tensor, tabular: Tensor) -> Tensor:
        """Return (n, labels) logits of (n, channels, side, side) normalised images and (n, columns) numbers."""
        return self.head(self.eye(images), tabular)


def densenet_pyramid(config: Config, labels: int, columns: int) -> ImageNetwork:
    """Return DenseNet121 with its pyramid and fusion.

    Setting ``levels`` ("c3+c4+c5") names the pyramid's; "none" is DenseNet's own end, normalised, rectified and pooled,
    as CheXNet has it (Rajpurkar et al. 2017, https://arxiv.org/abs/1711.05225). ``tabular`` false reads the image
    alone.
    """
    read = backbone("densenet121", str(config["weights"]))
    levels, width = str(config["levels"]), read.width
    eye = read.network
    if levels != "none":
        eye = Pyramid(eye, levels.split("+"))
        width = eye.width
    return ImageNetwork(eye, Fusion(width, labels, columns if config["tabular"] else 0, float(config["dropout"])), read)


def pooled(config: Config, labels: int, columns: int) -> ImageNetwork:
    """Return the backbone that setting ``backbone`` names with one layer on its pooled vector.

    ``tabular`` true puts the fusion in the layer's place.
    """
    read = backbone(str(config["backbone"]), str(config["weights"]))
    dropout = float(config["dropout"])
    head = Fusion(read.width, labels, columns, dropout) if config["tabular"] else Linear(read.width, labels, dropout)
    return ImageNetwork(read.network, head, read)
