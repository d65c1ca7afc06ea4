"""Where in an image a network looked (Grad-CAM), by captum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn


def grad_cam(
    network: nn.Module, inputs: Mapping[str, Tensor], label: int, side: int, seen: int | None = None
) -> np.ndarray:
    """Return (n, side, side) float32 maps from 0 to 1: what spoke for a label, each map's highest place 1.

    They are of the last module that answers a map, (n, channels, height, width) and larger than one place; a map in
    which nothing spoke for the label is 0 everywhere. Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization" (ICCV), https://arxiv.org/abs/1610.02391.

    Parameters
    ----------
    inputs
        The network's keyword arguments for n images.
    label
        The number of the logit.
    side
        Height and width of the images.
    seen
        Height and width of the centre that the network crops from them; all without it.

    Raises
    ------
    ValueError
        If no module of the network answers a map.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    def forward(*tensors: Tensor) -> Tensor:
        return network(**dict(zip(inputs, tensors, strict=True)))

    network.eval()
    cam = LayerGradCam(forward, _last_map(network, inputs))
    maps: Any = cam.attribute(tuple(inputs.values()), target=label, relu_attributions=True)
    inner = side if seen is None else seen
    large = LayerAttribution.interpolate(maps.detach().float(), (inner, inner), "bilinear")[:, 0].cpu().numpy()
    highest = large.max(axis=(1, 2), keepdims=True)
    before, after = (side - inner) // 2, side - inner - (side - inner) // 2
    return np.pad(large / np.where(highest > 0, highest, 1), [(0, 0), (before, after), (before, after)])


def _last_map(network: nn.Module, inputs: Mapping[str, Tensor]) -> nn.Module:
    import torch

    found: list[nn.Module] = []

    def note(module: nn.Module, _: Any, answer: Any) -> None:
        if isinstance(answer, torch.Tensor) and answer.ndim == 4 and min(answer.shape[2:]) > 1:
            found.append(module)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(f"no module of {type(network).__name__} answers a map: there is nowhere to look")
    return found[-1]
