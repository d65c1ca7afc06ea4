"""Backbones and their weights: fetched, read from a file, or refused, and never a silent random start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from zoobench.benchmarks.plan import _with_folders
from zoobench.datasets.core import TASKS
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo.models.resnet import RESNET18
from zoobench.zoo.models.xrv_densenet121 import build as XRV  # noqa: N812 - the entry
from zoobench.zoo.networks import backbones
from zoobench.zoo.networks.backbones import backbone


@pytest.fixture(autouse=True)
def _own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


def state(seed: int = 0, classes: int = 5) -> dict[str, Any]:
    """What somebody saved of a ResNet-18 with a classifier of its own."""
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return resnet18(num_classes=classes).state_dict()


def test_without_a_network_imagenets_weights_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UnavailableError, match=r"resnet18: torchvision's ImageNet weights cannot .*no route") as caught:
        backbone("resnet18", "imagenet")
    assert "\n" not in str(caught.value)


def test_without_a_network_chest_weights_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchxrayvision import utils

    def refuse(url: str, filename: str) -> None:
        raise ConnectionError("refused\nin two lines")

    monkeypatch.setattr(utils, "download", refuse)
    monkeypatch.setattr(utils, "get_cache_dir", lambda: str(tmp_path))
    with pytest.raises(UnavailableError, match=r"torchxrayvision's weights cannot be fetched \(refused\)"):
        backbone("xrv-densenet121", "chest")


def test_imagenets_weights_come_through_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, published = [], state(4, 1000)

    def fetch(url: str, path: str, hash_prefix: str | None, progress: bool) -> None:
        asked.append((Path(url).name, hash_prefix))
        torch.save(published, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    found = backbone("resnet18", "imagenet")
    assert asked == [("resnet18-f37072fd.pth", "f37072fd")]
    assert found.width == 512
    assert torch.equal(found.network.get_parameter("layer3.1.conv2.weight"), published["layer3.1.conv2.weight"])


def test_densenets_old_names_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"features.denseblock1.denselayer2.norm.1.weight": torch.ones(2), "features.norm5.bias": torch.ones(1)}
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, path, *more, **named: torch.save(old, path))
    found = backbones._imagenet_state("densenet121")
    assert set(found) == {"features.denseblock1.denselayer2.norm1.weight", "features.norm5.bias"}
    torch.save(old, tmp_path / "densenet121-a639ec97.pth")
    assert set(backbones._file_state(tmp_path / "densenet121-a639ec97.pth", chest=False)) == set(found)


def test_a_fetched_file_that_was_damaged_since_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, path, *more, **named: Path(path).write_bytes(b"x")
    )
    with pytest.raises(UnavailableError, match="resnet18: torchvision's ImageNet weights cannot be fetched"):
        backbone("resnet18", "imagenet")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_gives_the_weights(tmp_path: Path, suffix: str) -> None:
    saved, path = state(7), tmp_path / f"w{suffix}"
    if suffix == ".pt":  # as DataParallel and Lightning lay them
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in saved.items()}}, path)
    else:
        save_file(saved, path)
    network = backbone("resnet18", str(path)).network
    for key, held in network.state_dict().items():
        assert torch.equal(held, saved[key]), key
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 512)


def test_files_that_hold_something_else_are_refused_in_one_line(tmp_path: Path) -> None:
    narrow = state()
    narrow["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    cases = {
        "empty.pt": (b"", "cannot be read"),
        "noise.safetensors": (b"\x00" * 50, "cannot be read"),
        "list.pt": ([1, 2], "holds no state dictionary"),
        "code.pt": (os.system, "cannot be read"),
        "other.pt": ({"a": torch.zeros(1)}, "tensors are missing or of another shape, as conv1.weight"),
        "narrow.pt": (narrow, "1 of 120 tensors are missing or of another shape, as conv1.weight"),
    }
    for name, (held, reason) in cases.items():
        path = tmp_path / name
        path.write_bytes(held) if isinstance(held, bytes) else torch.save(held, path)
        with pytest.raises(UserError, match=reason) as caught:
            backbone("resnet18", str(path))
        assert "\n" not in str(caught.value), name


def test_a_backbone_that_is_not_there() -> None:
    with pytest.raises(UserError, match="unknown backbone 'resnet19': did you mean 'resnet18'"):
        backbone("resnet19", "none")


def test_torchxrayvisions_file_is_read_without_running_code(tmp_path: Path) -> None:
    from torchxrayvision.models import DenseNet

    network = DenseNet(growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8)
    path = tmp_path / "network.pt"
    torch.save(network, path)
    found = backbones._file_state(path, chest=True)
    assert set(found) == set(network.state_dict())
    assert torch.equal(found["features.conv0.weight"], network.features.conv0.weight)

    network.hook = os.system
    torch.save(network, path)
    with pytest.raises(UserError, match="cannot be read"):
        backbones._file_state(path, chest=True)


def test_torchxrayvisions_file_is_a_file_of_weights_as_well(tmp_path: Path) -> None:
    from torchxrayvision.models import DenseNet

    path = tmp_path / "nih-pc-chex.pt"
    with torch.random.fork_rng():
        network = DenseNet()
    torch.save(network, path)
    found = backbone("xrv-densenet121", str(path)).network
    assert torch.equal(found.get_parameter("features.conv0.weight"), network.features.conv0.weight)
    with pytest.raises(UserError, match="cannot be read"):
        backbone("densenet121", str(path))


def test_torchxrayvisions_weights_fit_torchvisions_layers() -> None:
    from torchxrayvision.models import DenseNet

    with torch.device("meta"):
        theirs, ours = DenseNet(), backbone("xrv-densenet121", "none")
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    wanted = {key: value.shape for key, value in ours.network.state_dict().items()}
    assert wanted.items() <= shapes.items()
    assert set(shapes) - set(wanted) == {"classifier.weight", "classifier.bias"}
    # torchxrayvision.datasets.normalize: 0 to -1024, 255 to 1024.
    np.testing.assert_allclose((np.array([0.0, 1.0]) - ours.mean[0]) / ours.std[0], [-1024, 1024])


def test_what_chest_weights_have_seen_is_marked(tmp_path: Path) -> None:
    card, config = XRV.card, XRV.card.configure
    tasks = card.trained_on["weights"]
    assert {"nih-chest-xray14", "chestmnist-64"} <= set(tasks) <= set(TASKS.entries())
    assert card.overlap("nih-chest-xray14", config()) == "weights=chest"
    assert card.overlap("nih-chest-xray14", config("", {"weights": "none"})) == ""
    assert card.overlap("my-hospital", config()) == ""
    # A file may hold the same weights under any name.
    (tmp_path / "any.pt").touch()
    own = config("", {"weights": str(tmp_path / "any.pt")})
    assert card.overlap("nih-chest-xray14", own) == f"weights={tmp_path / 'any.pt'}"


def test_a_cell_is_known_by_what_the_file_of_weights_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(b"one")
    config = RESNET18.card.configure("", {"weights": "w.pt"})
    full, hashes = _with_folders(RESNET18.card, config)
    assert full["weights"] == str(tmp_path / "w.pt")
    Path("w.pt").write_bytes(b"two")
    assert _with_folders(RESNET18.card, config)[1] != hashes
    Path("imagenet").mkdir()
    Path("none").touch()
    for word in ("imagenet", "none"):
        full, hashes = _with_folders(RESNET18.card, RESNET18.card.configure("", {"weights": word}))
        assert (full["weights"], hashes) == (word, {}), "the word means what it says, whatever lies in the folder"
