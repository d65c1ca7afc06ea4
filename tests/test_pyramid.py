"""DenseNet121 with its feature pyramid: every shape on the way, and what the answer depends on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.models.densenet121_fpn_tabular import CARD
from zoobench.zoo.networks.pyramid import ImageNetwork, Pyramid, densenet_pyramid
from zoobench.zoo.training import seeded


def network(**settings: Any) -> ImageNetwork:
    config = CARD.configure("", {"weights": "none", **settings})
    with seeded(3, "cpu"):
        return densenet_pyramid(config, 14, 3).eval()


@pytest.fixture(scope="module")
def whole() -> ImageNetwork:
    return network()


def images(side: int, many: int = 1) -> torch.Tensor:
    return torch.rand(many, 3, side, side, generator=torch.Generator().manual_seed(1))


# A side that 32 does not divide ends in maps that are rounded down, and still adds up.
@pytest.mark.parametrize(("side", "sides"), [(64, (8, 4, 2)), (100, (12, 6, 3)), (224, (28, 14, 7))])
@torch.inference_mode()
def test_every_shape_from_image_to_logits(whole: ImageNetwork, side: int, sides: tuple[int, ...]) -> None:
    pyramid: Any = whole.eye
    shown = images(side)
    stages = pyramid.stages(shown)
    assert {name: tuple(held.shape) for name, held in stages.items()} == {
        name: (1, channels, at, at)
        for name, channels, at in zip(("c3", "c4", "c5"), (512, 1024, 1024), sides, strict=True)
    }
    laterals = [block(stage) for block, stage in zip(pyramid.join.inner_blocks, stages.values(), strict=True)]
    assert [tuple(held.shape) for held in laterals] == [(1, 256, at, at) for at in sides]
    maps = pyramid.maps(shown)
    assert [tuple(held.shape) for held in maps.values()] == [(1, 256, at, at) for at in sides]
    pooled = pyramid(shown)
    assert pooled.shape == (1, 768)
    torch.testing.assert_close(pooled[:, 256:512], nn.functional.adaptive_avg_pool2d(maps["c4"], 1)[:, :, 0, 0])
    head: Any = whole.head
    assert head.seen(pooled).shape == (1, 256)
    assert head.beside(torch.zeros(1, 3)).shape == (1, 8)
    assert head.fused.in_features == 264
    assert whole(shown, torch.zeros(1, 3)).shape == (1, 14)


@torch.inference_mode()
def test_the_pyramid_adds_the_deeper_map_twice_as_large(whole: ImageNetwork) -> None:
    join: Any = whole.eye.join
    stages: Any = whole.eye.stages(images(64))
    c3, c4, c5 = (block(held) for block, held in zip(join.inner_blocks, stages.values(), strict=True))
    p4 = c4 + c5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    p3 = c3 + p4.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = join(stages)
    for name, at, expected in (("c3", 0, p3), ("c4", 1, p4), ("c5", 2, c5)):
        torch.testing.assert_close(found[name], join.layer_blocks[at](expected))
    assert [block[0].kernel_size for block in join.inner_blocks] == [(1, 1)] * 3
    assert [block[0].kernel_size for block in join.layer_blocks] == [(3, 3)] * 3


@torch.inference_mode()
def test_each_level_and_each_number_changes_the_answer(whole: ImageNetwork) -> None:
    shown, known = images(64), torch.full((1, 3), 0.5)
    pooled = whole.eye(shown)
    before = whole.head(pooled, known)
    for level in range(3):
        other = pooled.clone()
        other[:, 256 * level : 256 * (level + 1)] += 0.5
        assert not torch.allclose(whole.head(other, known), before), f"level {level}"
    for column in range(3):
        other = known.clone()
        other[:, column] += 0.5
        assert not torch.allclose(whole.head(pooled, other), before), f"number {column}"
    assert not torch.allclose(whole(1 - shown, known), before)


@torch.inference_mode()
def test_the_ablations_leave_out_what_they_name() -> None:
    shown, known = images(64), torch.rand(1, 3)
    alone = network(tabular=False)
    assert torch.equal(alone(shown, known), alone(shown, known + 1))
    assert alone.head.fused.in_features == 256
    pooled = network(levels="none")
    features = nn.functional.relu(pooled.eye.features(shown)).mean((2, 3))
    torch.testing.assert_close(pooled.eye(shown), features)
    assert features.shape == (1, 1024)
    two = network(levels="c4+c5")
    assert list(two.eye.maps(shown)) == ["c4", "c5"]
    assert two.head.seen.in_features == 512


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="unknown pyramid level 'c6'"):
        Pyramid(nn.Identity(), ("c4", "c6"))
    with pytest.raises(UserError, match="unknown levels of densenet121-fpn-tabular ''"):
        network(levels="")
