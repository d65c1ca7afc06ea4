"""The transforms of X-rays against torchvision's own, image by image, and what they never do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from zoobench.zoo.image_transforms import (
    DEGREES,
    RandomAffines,
    RandomBlurs,
    RandomCrops,
    affine,
    blur,
    evaluation_transform,
    train_transform,
)
from zoobench.zoo.networks.backbones import IMAGENET_MEAN, IMAGENET_STD
from zoobench.zoo.training import seeded

SIDE = 80


def smooth(many: int = 6, side: int = SIDE) -> torch.Tensor:
    """Images without edges, so that interpolations agree; brighter to the left and to the top."""
    at = torch.linspace(0, 1, side)
    base = (1.2 - 0.7 * at)[None, :] * (1.1 - 0.4 * at)[:, None] * 0.7
    return torch.stack([base * (0.6 + 0.05 * number) for number in range(many)])[:, None]


def as_bytes(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def test_a_batchs_affine_is_torchvisions_image_by_image() -> None:
    images = smooth()
    degrees = torch.tensor([-7.0, -3.0, 0.0, 0.0, 5.0, 7.0])
    shifts = torch.tensor([[0.05, 0.0], [0.0, -0.05], [0.05, 0.025], [0.0, 0.0], [-0.05, 0.05], [0.0, 0.0]])
    found = affine(images, degrees, shifts)
    for number, image in enumerate(images):
        across, down = (round(float(share) * SIDE) for share in shifts[number])
        expected = v2.functional.affine(
            image, float(degrees[number]), [across, down], 1.0, [0.0, 0.0], v2.InterpolationMode.BILINEAR
        )
        torch.testing.assert_close(found[number], expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(found[3], images[3])


def test_a_batchs_blur_is_torchvisions_image_by_image() -> None:
    images = torch.rand(4, 1, 20, 20, generator=torch.Generator().manual_seed(2))
    sigmas, chosen = torch.tensor([0.2, 0.7, 1.5, 1.0]), torch.tensor([True, True, True, False])
    found = blur(images, sigmas, chosen)
    for number in range(3):
        expected = v2.functional.gaussian_blur(images[number], [3, 3], [float(sigmas[number])] * 2)
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[3], images[3])


def test_every_crop_is_a_window_of_its_image() -> None:
    images = torch.arange(4 * 30 * 30, dtype=torch.int32).reshape(4, 1, 30, 30)
    with seeded(0, "cpu"):
        found = RandomCrops()(images)
    assert found.shape == (4, 1, 27, 27)
    corners = []
    for image, crop in zip(images, found, strict=True):
        row, column = divmod(int(crop[0, 0, 0] - image[0, 0, 0]), 30)
        assert torch.equal(crop[0], image[0, row : row + 27, column : column + 27])
        corners.append((row, column))
    assert len(set(corners)) > 1, "a batch shares no draw"


@pytest.mark.parametrize("side", [64, 96])
def test_ranges_shapes_and_normalisation(side: int) -> None:
    images = as_bytes(torch.rand(5, 1, 70, 70, generator=torch.Generator().manual_seed(3)))
    for make in (train_transform, evaluation_transform):
        with seeded(5, "cpu"):
            found = make(side, IMAGENET_MEAN, IMAGENET_STD)(images)
        assert found.shape == (5, 3, side, side)
        back = found * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
        assert float(back.min()) > -1e-4
        assert float(back.max()) < 1 + 1e-4
        torch.testing.assert_close(back[:, 0], back[:, 2])
    chest = evaluation_transform(side, (0.5,), (0.5 / 1024,))(torch.full((1, 1, 70, 70), 255, dtype=torch.uint8))
    assert chest.shape == (1, 1, side, side)
    assert float(chest.min()) == pytest.approx(1024)


def test_the_evaluation_is_the_published_one() -> None:
    images = as_bytes(torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4)))
    published = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.CenterCrop(72), v2.Resize(64), v2.Normalize([0.485], [0.229])]
    )
    found = evaluation_transform(64, IMAGENET_MEAN, IMAGENET_STD)(images)
    torch.testing.assert_close(found[:, :1], published(images), atol=1e-2, rtol=0)
    torch.testing.assert_close(found, evaluation_transform(64, IMAGENET_MEAN, IMAGENET_STD)(images))


def test_training_never_mirrors_and_every_image_draws_its_own() -> None:
    images = as_bytes(smooth(1).expand(64, -1, -1, -1))
    with seeded(6, "cpu"):
        found = train_transform(64, (0.0,), (1.0,))(images)
    middle = found[:, 0, 12:52, 12:52]
    assert bool((middle[:, :, :20].mean((1, 2)) > middle[:, :, 20:].mean((1, 2))).all()), "left stays left"
    assert bool((middle[:, :20].mean((1, 2)) > middle[:, 20:].mean((1, 2))).all()), "up stays up"
    assert len({float(image.sum()) for image in found}) > 60


def test_draws_keep_to_the_published_ranges() -> None:
    spots = torch.zeros(400, 1, 101, 101)
    spots[:, :, 50, 50] = 1.0
    with seeded(7, "cpu"):
        moved = RandomAffines()(spots)[:, 0]
        blurred = RandomBlurs()(spots)[:, 0]
    at = torch.arange(101) - 50.0
    total = moved.sum((1, 2))
    across, down = (moved.sum(1) @ at) / total, (moved.sum(2) @ at) / total
    for shift in (across, down):
        assert 5.5 < float(shift.abs().max()) <= 6.07
    share = float((blurred[:, 50, 50] < 1).float().mean())
    assert 0.33 < share < 0.47
    assert float(blurred[:, 50, 50].min()) > 1 / 9
    assert DEGREES == 7
    np.testing.assert_allclose(blurred.sum((1, 2)), 1, atol=1e-5)
