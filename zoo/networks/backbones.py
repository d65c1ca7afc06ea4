"""Convolutional backbones of torchvision and where their weights come from: ImageNet, chest X-rays, a file, nowhere."""

from __future__ import annotations

import contextlib
import io
import re
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...datasets.support.errors import UnavailableError, UserError, unknown_name

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHEST = "densenet121-res224-all"
"""torchxrayvision's weights of eight corpora, NIH's among them (Cohen et al. 2022, https://arxiv.org/abs/2111.00595)."""
_CLASSIFIERS = {
    "densenet121": "classifier",
    "resnet18": "fc",
    "resnet50": "fc",
    "convnext_tiny": "classifier.2",
    "xrv-densenet121": "classifier",
}
"""The last layer of each backbone, which is left out: its inputs are the pooled vector."""
_CONNECT_SECONDS = 15.0


class Backbone(NamedTuple):
    """A network from (n, channels, side, side) images to (n, width) vectors, and how its images are normalised."""

    network: nn.Module
    width: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def backbone(name: str, weights: str) -> Backbone:
    """Return the backbone `name` with `weights`.

    Parameters
    ----------
    weights
        ``imagenet`` (torchvision's), ``chest`` (torchxrayvision's; of xrv-densenet121), ``none`` (at random), or a
        file: safetensors, or a state dictionary that torch saved.

    Raises
    ------
    UnavailableError
        If weights cannot be fetched, or the file is not there: a random start is never taken in their place.
    UserError
        For an unknown name, weights that the backbone does not have, or a file that does not hold them.
    """
    if name not in _CLASSIFIERS:
        raise unknown_name("backbone", name, _CLASSIFIERS)
    chest = name == "xrv-densenet121"
    read = _chest() if chest else _torchvision(name)
    own = "chest" if chest else "imagenet"
    if weights != "none":
        fetched = _chest_state if chest else partial(_imagenet_state, name)
        state = fetched() if weights == own else _file_state(Path(weights).expanduser(), chest)
        _put(read.network, state, f"{name}: weights {weights}")
    return read


def _torchvision(name: str) -> Backbone:
    from torchvision.models import get_model

    network = get_model(name, weights=None)
    last = network.get_submodule(_CLASSIFIERS[name])
    network.set_submodule(_CLASSIFIERS[name], nn.Identity())
    return Backbone(network, int(last.in_features))  # pyright: ignore[reportArgumentType] - it is a linear layer


def _chest() -> Backbone:
    """Return DenseNet121 on one channel from -1024 to 1024, as torchxrayvision's weights read images."""
    found = _torchvision("densenet121")
    found.network.set_submodule("features.conv0", nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False))
    return Backbone(found.network, found.width, mean=(0.5,), std=(0.5 / 1024,))


def _imagenet_state(name: str) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights

    weights: Any = next(each for each in get_model_weights(name) if each.name == "IMAGENET1K_V1")
    with _fetching(f"{name}: torchvision's ImageNet weights"):
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    return _renamed(state)


def _renamed(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return tensors by torchvision's names of today: its file of DenseNet121 is older than they are."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", key): value for key, value in state.items()}


def _chest_state() -> Mapping[str, Tensor]:
    from torchxrayvision.models import get_weights

    with _fetching("xrv-densenet121: torchxrayvision's weights"):
        path = Path(get_weights(CHEST))
    return _file_state(path, chest=True)


@contextlib.contextmanager
def _chest_classes() -> Iterator[None]:
    """Let through what a DenseNet consists of that torchxrayvision saved whole: nothing else in a file can run."""
    from torchxrayvision import models

    layers = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear, nn.Sequential)
    own = (models.DenseNet, models._DenseLayer, models._DenseBlock, models._Transition)
    with torch.serialization.safe_globals([*layers, *own, set]):
        yield


def _state_of(network: nn.Module) -> Mapping[str, Tensor]:
    for module in network.modules():  # files of old releases of torch lack what state_dict() reads
        module.__dict__.setdefault("_non_persistent_buffers_set", set())
        module.__dict__.setdefault("_state_dict_pre_hooks", {})
    return network.state_dict()


@contextlib.contextmanager
def _fetching(what: str) -> Iterator[None]:
    """Turn what goes wrong with a download into one line, and wait no longer than `_CONNECT_SECONDS` for an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except MemoryError:
        raise
    except Exception as error:  # no answer, another hash, or a file that was damaged after it was fetched
        raise UnavailableError(
            f"{what} cannot be fetched ({_line(error)}): connect, give a file (--set weights=PATH), or start at random "
            "(--set weights=none)"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _file_state(path: Path, chest: bool) -> Mapping[str, Tensor]:
    """Return the tensors of a file by today's names; `chest` also reads a whole network of torchxrayvision."""
    with _chest_classes() if chest else contextlib.nullcontext():
        found = _loaded(path)
    if isinstance(found, nn.Module):
        return _state_of(found)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"weights file {path} holds no state dictionary: save network.state_dict(), or use safetensors")
    return _renamed({key.removeprefix("module."): value for key, value in found.items()})


def _loaded(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # both formats have errors of their own for a damaged file
        raise UserError(
            f"weights file {path} cannot be read ({_line(error)}): give safetensors or a state dictionary"
        ) from error


def _put(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load all of a network's tensors; those of a classifier, which it has not, are passed over."""
    wanted = network.state_dict()
    # Networks saved before torch 0.4.1 do not count their batches, and nothing here reads the count.
    odd = [
        key
        for key, value in wanted.items()
        if not key.endswith("num_batches_tracked") and (key not in state or state[key].shape != value.shape)
    ]
    if odd:
        raise UserError(f"{what}: {len(odd)} of {len(wanted)} tensors are missing or of another shape, as {odd[0]}")
    network.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
