"""What an optimizer remembers between steps, as safetensors: a training can go on from it, and no pickle is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.support.errors import UserError

if TYPE_CHECKING:
    from torch.optim import Optimizer

_GROUPS = "param_groups"


def save_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Write an optimizer's state to `path`: tensors as ``<parameter>.<name>``, its groups as JSON beside them."""
    import torch
    from safetensors.torch import save_file

    held = optimizer.state_dict()
    tensors = {
        f"{number}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in held["state"].items()
        for name, value in values.items()
    }
    groups = json.dumps(held[_GROUPS], default=float)  # a rate may be a tensor
    save_file(tensors, path, metadata={_GROUPS: groups})


def load_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Give an optimizer of the same parameters the state that `save_optimizer` wrote.

    Raises
    ------
    UserError
        If the file is damaged, or of an optimizer of other parameters.
    """
    from safetensors import SafetensorError, safe_open

    state: dict[int, dict[str, object]] = {}
    try:
        with safe_open(path, framework="pt") as kept:
            for key in kept.keys():  # noqa: SIM118 - no mapping
                number, _, name = key.partition(".")
                state.setdefault(int(number), {})[name] = kept.get_tensor(key)
            groups = json.loads(kept.metadata()[_GROUPS])
        optimizer.load_state_dict({"state": state, _GROUPS: groups})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"optimizer state {path} cannot be read ({line}): train anew") from error
