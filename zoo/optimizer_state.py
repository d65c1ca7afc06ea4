"""What an optimizer remembers between steps, as safetensors: a training can go on from it, and no pickle is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.support.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

_GROUPS = "param_groups"


def state_of(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return an optimizer's tensors on the CPU as ``<parameter>.<name>``, and its groups as JSON holds them."""
    import torch

    held = optimizer.state_dict()
    tensors = {
        f"{number}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in held["state"].items()
        for name, value in values.items()
    }
    return tensors, json.loads(json.dumps(held[_GROUPS], default=float))  # a rate may be a tensor


def put_state(optimizer: Optimizer, tensors: Mapping[str, Tensor], groups: Sequence[Mapping[str, Any]]) -> None:
    """Give an optimizer of the same parameters what `state_of` returned."""
    import torch

    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        weight = weights[int(number)]
        # As the weight lies in memory (channels last, perhaps): fused steps walk through both side by side.
        placed = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor.clone()
        state.setdefault(int(number), {})[name] = placed
    optimizer.load_state_dict({"state": state, _GROUPS: [dict(group) for group in groups]})


def save_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Write an optimizer's state to `path`: tensors as ``<parameter>.<name>``, its groups as JSON beside them."""
    from safetensors.torch import save_file

    tensors, groups = state_of(optimizer)
    save_file(tensors, path, metadata={_GROUPS: json.dumps(groups)})


def load_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Give an optimizer of the same parameters the state that `save_optimizer` wrote.

    Raises
    ------
    UserError
        If the file is damaged, or of an optimizer of other parameters.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as kept:
            tensors = {key: kept.get_tensor(key) for key in kept.keys()}  # noqa: SIM118 - no mapping
            groups = json.loads(kept.metadata()[_GROUPS])
        put_state(optimizer, tensors, groups)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"optimizer state {path} cannot be read ({line}): train anew") from error
