"""A network with its eyes: it takes bytes, and transforms them itself, on the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..image_transforms import evaluation_transform, train_transform
from .pyramid import ImageNetwork


class Viewed(nn.Module):
    """An image network behind its transforms: augmented while it trains, plain when it answers.

    Parameters
    ----------
    side
        Height and width that images are brought to.
    augmentation
        One of `image_transforms.AUGMENTATIONS`.
    channels_last
        Whether images and weights lie with the channels of a pixel side by side.
    """

    def __init__(self, network: ImageNetwork, side: int, augmentation: str, channels_last: bool) -> None:
        super().__init__()
        plain = evaluation_transform(side, network.mean, network.std)
        self._answering = plain
        self._training = train_transform(side, network.mean, network.std) if augmentation == "published" else plain
        self._form = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self._form)  # pyright: ignore[reportCallIssue]

    def forward(self, pixels: Tensor, tabular: Tensor) -> Tensor:
        """Return (n, labels) logits of (n, height, width) uint8 pixels and (n, columns) numbers."""
        # Where a pixel is taken from needs all digits: bf16 would move it by up to a pixel.
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            images = (self._training if self.training else self._answering)(pixels[:, None])
        return self.network(images.contiguous(memory_format=self._form), tabular)
