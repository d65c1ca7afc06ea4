"""Where the zoo's own image networks looked: a map for every kind of end that they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from zoobench.benchmarks.check import image_task
from zoobench.zoo.core import MODELS, Context, Scalar
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.grad_cam import _last_map

CHEAP: dict[str, Scalar] = {
    "weights": "none", "size": 64, "cycles": 1, "epochs": 1, "batch_size": 8, "number_format": "fp32",
    "memory_layout": "contiguous",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("densenet121-fpn-tabular", ""),
        ("densenet121-fpn-tabular", "chexnet"),
        ("resnet18", "tabular"),
    ],
)
def test_a_network_tells_where_it_looked(name: str, preset: str, tmp_path: Path) -> None:
    pytest.importorskip("captum")
    model = MODELS.get(name)
    card, X, y = image_task("multilabel", 16)
    built = model.build(model.card.configure(preset, CHEAP), Context(card, 5, "cpu", 2, FeatureCache(tmp_path)))
    built.fit(X, y, seed=1)
    assert len(built.losses_) == 2
    assert np.isfinite(built.losses_).all()
    state = built.optimizer_.state_dict()["state"]
    assert {int(held["step"]) for held in state.values()} == {2}
    maps = built.grad_cam(X[:3], 1)
    side = X[:3].load().shape[-1]
    assert maps.shape == (3, side, side)
    assert maps.min() >= 0
    assert maps.max() <= 1 + 1e-6
    edge = (side - round(0.9 * side)) // 2
    assert edge == 0 or not maps[:, :edge].any(), "what the network crops away is not shown as seen"
    again = built.grad_cam(X[:3], 1)
    np.testing.assert_allclose(maps, again, atol=1e-5)


def test_a_pyramid_is_asked_for_its_largest_map(tmp_path: Path) -> None:
    model = MODELS.get("densenet121-fpn-tabular")
    network = model.build(
        model.card.configure("", CHEAP), Context(image_task("multilabel")[0], 5, "cpu", 2, FeatureCache(tmp_path))
    )
    network._assemble(network._architecture({**network._config}, 3, 0))
    sizes: list[int] = []
    inputs = {"pixels": torch.zeros(1, 80, 80, dtype=torch.uint8), "tabular": torch.zeros(1, 0)}
    last = _last_map(network._network.eval(), inputs)
    last.register_forward_hook(lambda module, given, answer: sizes.append(answer.shape[-1]))
    network._network(**inputs)
    assert sizes == [8], "c3 of 64 pixels"
