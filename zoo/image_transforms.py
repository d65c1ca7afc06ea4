"""What is done to X-rays before a network sees them, a batch at a time on the device, by torchvision's transforms.v2.

The published ones (system 2): crop of 90 %, resize, rotation within 7 degrees and shift within 6 %, blur, ImageNet's
normalisation; none mirrors, since the heart has a side. torchvision's random transforms draw once a call, so that a
batch would share its draw: those here draw for each image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, pad
from torchvision.transforms import v2

CROP, DEGREES, SHIFT = 0.9, 7.0, 0.06
BLURRED, SIGMAS = 0.4, (0.2, 1.5)
AUGMENTATIONS = ("published", "none")


def train_transform(side: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Return (n, 1, height, width) uint8 -> (n, channels, side, side) float32, each image with a draw of its own."""
    return v2.Compose(
        [
            RandomCrops(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((side, side), antialias=True),
            RandomAffines(),
            RandomBlurs(),
            Channels(len(mean)),
            v2.Normalize(list(mean), list(std)),
        ]
    )


def evaluation_transform(side: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Return (n, 1, height, width) uint8 -> (n, channels, side, side) float32, the crop from the centre."""
    return v2.Compose(
        [
            CentreCrop(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((side, side), antialias=True),
            Channels(len(mean)),
            v2.Normalize(list(mean), list(std)),
        ]
    )


def _kept(images: Tensor) -> tuple[int, int]:
    """Return the height and width of a crop."""
    return round(CROP * images.shape[-2]), round(CROP * images.shape[-1])


class CentreCrop(v2.Transform):
    """Keeps 90 % of height and width, from the centre: annotations and borders stand at the edge."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return (n, c, 0.9 height, 0.9 width)."""
        del params
        return v2.functional.center_crop(inpt, list(_kept(inpt)))


class RandomCrops(v2.Transform):
    """Keeps 90 % of height and width, anywhere, in every image elsewhere."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return (n, c, 0.9 height, 0.9 width)."""
        del params
        (height, width), many = _kept(inpt), len(inpt)
        tops = torch.randint(inpt.shape[-2] - height + 1, (many, 1, 1), device=inpt.device)
        lefts = torch.randint(inpt.shape[-1] - width + 1, (many, 1, 1), device=inpt.device)
        rows = tops + torch.arange(height, device=inpt.device)[None, :, None]
        columns = lefts + torch.arange(width, device=inpt.device)[None, None, :]
        images = torch.arange(many, device=inpt.device)[:, None, None]
        return inpt.movedim(1, -1)[images, rows, columns].movedim(-1, 1)


class RandomAffines(v2.Transform):
    """Rotates within 7 degrees and shifts within 6 % of the side, every image otherwise; what comes in is black."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return (n, c, side, side)."""
        del params
        drawn = torch.rand(3, len(inpt), device=inpt.device) * 2 - 1
        return affine(inpt, drawn[0] * DEGREES, drawn[1:].T * SHIFT)


def affine(images: Tensor, degrees: Tensor, shifts: Tensor) -> Tensor:
    """Turn (n, c, side, side) images by (n,) degrees and shift them by (n, 2) shares of the side (right, down).

    The convention of ``v2.functional.affine``, with bilinear interpolation.
    """
    angles = degrees * (math.pi / 180)
    cos, sin = angles.cos(), angles.sin()
    # A grid says where each output is taken from: the inverse of the turn, of what is shifted back. Its unit is half
    # a side.
    turn = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    matrix = torch.cat([turn, -turn @ (2 * shifts)[:, :, None]], dim=2)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class RandomBlurs(v2.Transform):
    """Blurs four of ten images by a Gaussian of 3 pixels, sigma 0.2 to 1.5, every image with its own."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return (n, c, height, width)."""
        del params
        low, high = SIGMAS
        sigmas = low + (high - low) * torch.rand(len(inpt), device=inpt.device)
        return blur(inpt, sigmas, torch.rand(len(inpt), device=inpt.device) < BLURRED)


def blur(images: Tensor, sigmas: Tensor, chosen: Tensor) -> Tensor:
    """Blur the `chosen` of (n, c, height, width) images, (n,) bool, with a kernel of 3 and (n,) `sigmas`.

    The kernel is separable and three weights wide: sums of shifted images, in the place of a convolution for each.
    """
    neighbour = torch.exp(-0.5 / sigmas**2)
    weight = torch.where(chosen, neighbour / (1 + 2 * neighbour), 0.0)[:, None, None, None]
    wide = pad(images, (1, 1, 0, 0), mode="reflect")
    images = (1 - 2 * weight) * images + weight * (wide[..., :-2] + wide[..., 2:])
    high = pad(images, (0, 0, 1, 1), mode="reflect")
    return (1 - 2 * weight) * images + weight * (high[..., :-2, :] + high[..., 2:, :])


class Channels(v2.Transform):
    """Repeats the one channel of grey images as often as a network reads it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Return (n, channels, height, width)."""
        del params
        return inpt.expand(-1, self.channels, -1, -1)
