"""Where a model looked: Grad-CAM by hand, and `zoobench explain` on an image task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from zoobench.benchmarks import explain as asking
from zoobench.benchmarks import run
from zoobench.benchmarks.explain import explain
from zoobench.benchmarks.predict import best_cell
from zoobench.datasets.core import TASKS
from zoobench.datasets.prepare import prepare
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.leaderboard.explanations import _distinct, explained

from .conftest import zoobench
from .test_image_tasks import PLUGIN, write_squares

# Names of its own, since models and tasks are registered for good. It says that it looked at the left half for the
# first label, nowhere for the second.
LOOKING = PLUGIN.replace("bright-squares", "seen-squares").replace('"looker"', '"viewer"')
LOOKING = LOOKING.replace(
    "class Looker:",
    """class Looker:
    def grad_cam(self, X, label):
        assert len(X) == 1
        heat = np.zeros((1, 8, 8))
        heat[:, :, :4] = 1 - label
        return heat
""",
)
LOOKING += """

class Blind(Looker):
    grad_cam = property()


@model(ModelCard(
    name="eyeless", title="t", description="d", modality="image", framework="scikit-learn", citation="c",
))
def build_eyeless(config, context):
    return Blind()
"""


def test_grad_cam_by_hand() -> None:
    import torch
    from torch import nn
    from zoobench.zoo.grad_cam import grad_cam

    class Network(nn.Module):
        """Two channels, the image and half of it inverted, averaged; labels weigh them (1, 0), (-1, 0) and (1, 2)."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 1)
            self.layer.weight.data = torch.tensor([1.0, -0.5]).reshape(2, 1, 1, 1)
            self.layer.bias.data = torch.tensor([0.0, 0.5])
            self.weights = nn.Parameter(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 2.0]]))

        def forward(self, image: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
            return self.layer(image).mean((2, 3)) @ self.weights.T + age

    image = torch.zeros(2, 1, 4, 4)
    image[0, 0, 0, 0], image[0, 0, 3, 3] = 1.0, 0.5
    inputs = {"image": image, "age": torch.zeros(2, 1)}
    network = Network().train()
    first, second, third = (grad_cam(network, inputs, label, side=4) for label in range(3))
    assert first.shape == (2, 4, 4)
    np.testing.assert_allclose(first[0], image[0, 0], atol=1e-6)
    np.testing.assert_array_equal(first[1], 0)
    np.testing.assert_array_equal(second, 0)
    # image + 2 (0.5 - 0.5 image) is 1 everywhere.
    np.testing.assert_allclose(third, 1, atol=1e-6)
    cropped = grad_cam(network, inputs, 0, side=11, seen=8)
    assert cropped.shape == (2, 11, 11)
    assert not cropped[:, [0, 9, 10]].any()
    assert not cropped[:, :, [0, 9, 10]].any()
    assert cropped[0, 1, 1] == cropped.max() == 1


def test_the_last_map_is_before_the_pooling() -> None:
    import torch
    from torch import nn
    from zoobench.zoo.grad_cam import grad_cam

    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    network = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        body[0].weight.fill_(0.1)
        body[0].bias.zero_()
        network[3].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
    image = torch.zeros(1, 1, 16, 16)
    image[:, :, 8:, 8:] = 1.0
    heat = grad_cam(network, {"input": image}, 0, side=16)[0]
    assert heat[10:14, 10:14].min() > 0.9
    assert heat[:5, :5].max() == 0
    with pytest.raises(ValueError, match="nowhere to look"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), {"input": image}, 0, side=16)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, Path]:
    """A plug-in with a task of squares, and the results of two models on it."""
    folder = tmp_path_factory.mktemp("explain")
    plugin = write_squares(folder, LOOKING)
    run(task="seen-squares", model=["viewer", "eyeless"], plugin=plugin, results=folder / "r", quiet=True)
    return plugin, folder / "r"


def test_an_image_of_any_fold_is_explained(asked: tuple[Path, Path]) -> None:
    plugin, results = asked
    sealed = prepare(TASKS.get("seen-squares")).sealed_test()
    stored = best_cell("seen-squares", "viewer", results, [plugin], "image")
    bright = sealed.ids[np.flatnonzero(sealed.targets[:, 0] == 1)[0]]
    (found,) = explain(stored, [bright], ["bright", "old"], [plugin])
    assert found.image == bright
    assert found.pixels.mean() > 127
    assert "bright" in found.answer.chosen
    assert found.maps["bright"].tolist() == [[1.0] * 4 + [0.0] * 4] * 8
    assert not found.maps["old"].any()
    every = explain(stored, [f"i{number}" for number in range(0, 240, 20)], plugins=[plugin])
    assert len({each.pixels.tobytes() for each in every}) == 12
    for each in every:
        assert list(each.maps) == list(each.answer.chosen or [each.answer.probabilities[0][0]])


def test_the_command_writes_pictures(asked: tuple[Path, Path], tmp_path: Path) -> None:
    plugin, results = asked
    text = explained("seen-squares", "viewer", ["i3", "i4"], ["bright"], results, [plugin], tmp_path / "new" / "out")
    assert [path.name for path in sorted((tmp_path / "new" / "out").iterdir())] == [
        "i3.explained.png",
        "i4.explained.png",
    ]
    assert "i3.explained.png" in text
    assert "bright" in text
    with Image.open(tmp_path / "new" / "out" / "i3.explained.png") as picture:
        assert picture.width > picture.height, "the image, and beside it the map"


def test_a_file_is_explained_as_the_image_that_it_holds(asked: tuple[Path, Path], tmp_path: Path) -> None:
    plugin, results = asked
    stored = best_cell("seen-squares", "viewer", results, [plugin], "image")
    (known,) = explain(stored, ["i3"], ["bright"], [plugin])
    Image.fromarray(known.pixels).save(tmp_path / "new.png")
    (found,) = explain(stored, [str(tmp_path / "new.png")], ["bright"], [plugin])
    np.testing.assert_array_equal(found.pixels, known.pixels)
    np.testing.assert_array_equal(found.maps["bright"], known.maps["bright"])
    assert dict(found.answer.probabilities)["bright"] == pytest.approx(dict(known.answer.probabilities)["bright"])
    (tmp_path / "bad.png").write_bytes(b"PNG")
    with pytest.raises(UserError, match=r"bad.png is no image"):
        explain(stored, [str(tmp_path / "bad.png")], [], [plugin])


def test_a_model_without_a_map_answers_and_says_so(asked: tuple[Path, Path], tmp_path: Path) -> None:
    plugin, results = asked
    text = explained("seen-squares", "eyeless", ["i1"], [], results, [plugin], tmp_path)
    assert "bright" in text
    assert text.endswith("model eyeless cannot tell where it looked: take a convolutional network")
    assert not any(tmp_path.iterdir())


def test_pictures_of_ids_that_look_alike_stand_apart() -> None:
    assert _distinct(["a/b.png", "a_b.png", "c"]) == ["a_b", "a_b-2", "c"]


@pytest.mark.parametrize(
    ("model", "image", "label", "words"),
    [
        ("viewer", "i999", [], "task seen-squares has no image called 'i999'"),
        ("viewer", "i1", ["dark"], "unknown label of seen-squares 'dark'"),
        ("eyeless", "i1", ["bright"], "model eyeless cannot tell where it looked"),
        ("tfidf-logreg", "i1", [], "no stored tfidf-logreg"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    model: str, image: str, label: list[str], words: str, asked: tuple[Path, Path], tmp_path: Path
) -> None:
    plugin, results = asked
    with pytest.raises(UserError, match=words):
        explained("seen-squares", model, [image], label, results, [plugin], tmp_path)
    assert not any(tmp_path.iterdir())


def test_without_captum_it_says_how_to_get_it(asked: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, results = asked
    monkeypatch.setattr(asking, "NEEDED", ("not_a_package",))
    with pytest.raises(UnavailableError, match=r"not_a_package: not installed: pip install 'zoobench\[vision\]'"):
        explain(best_cell("seen-squares", "viewer", results, [plugin], "image"), ["i1"])


def test_texts_are_not_looked_at() -> None:
    done = zoobench("explain", "--task", "openi-reports", "--model", "tfidf-logreg", "--image", "x")
    assert done.returncode == 2
    assert "task openi-reports is made of texts: ask with `zoobench predict`" in done.stderr
    done = zoobench("explain", "--task", "openi-reports", "--model", "tfidf-logreg")
    assert done.returncode == 2
    assert "give --image, a file or an id" in done.stderr
