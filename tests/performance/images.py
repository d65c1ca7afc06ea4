"""Measure the chest X-ray network against the loop one writes first: python tests/performance/images.py [--side 64 224].

For each side, on the network that `densenet121-fpn-tabular` trains, from random weights:

a  images a second that are trained on and answered, against a plain loop: every image decoded from its PNG file and
   transformed alone, whenever it is asked for; float32, channels first, Adam as it comes
b  the share of a training step that reading and transforming its images takes
c  the share of this machine's rate of matrix products that the training step reaches
d  on a GPU, the share of the time in which it computes

Both loops train the same network on the same images by the same loss, in turns, so that what else the machine does
falls on both. MISSED marks what is less than asked, and the exit status is then 1. It needs images of
nih-chest-xray14 (ZOOBENCH_DATA); --quick takes a few generated ones: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
from figures import Figure, head, in_turns, product_rate, show, wait
from PIL import Image
from zoobench.benchmarks.check import image_task
from zoobench.benchmarks.hardware import choose_device, cores
from zoobench.datasets.core import TASKS, TaskCard
from zoobench.datasets.images import Images
from zoobench.datasets.support.errors import UnavailableError, UserError
from zoobench.zoo.balancing import unbalanced
from zoobench.zoo.core import MODELS, Context
from zoobench.zoo.features import FeatureCache
from zoobench.zoo.image_data import ImageData, Scale
from zoobench.zoo.images import losses_of
from zoobench.zoo.training import Trainer, answers

NAME, BATCH = "densenet121-fpn-tabular", 32
MATRIX = (4096, 1024, 1152)  # a 3x3 convolution of DenseNet over a batch, as a product
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Sample:
    """Images of a task, their targets, and the files that they were decoded from."""

    card: TaskCard
    X: Images
    y: np.ndarray
    files: Sequence[Path]


def published(rows: int) -> Sample:
    from zoobench.datasets.tasks import nih_chest_xray14 as nih

    task = TASKS.get("nih-chest-xray14")
    examples = task.read("")
    rows = min(rows, len(examples.ids))
    folder = Path(nih.images())
    found = {path.name: path for path in folder.rglob("*.png")}
    beside = [np.asarray(examples.columns[name], float) for name in task.card.tabular]
    tabular = np.column_stack(beside).astype(np.float32)[:rows]
    assert examples.pixels is not None
    store = Images(examples.pixels.pixels, np.asarray(examples.inputs)[:rows], tabular, task.card.tabular)
    return Sample(task.card, store, examples.targets[:rows], [found[name] for name in examples.ids[:rows]])


def generated(rows: int, folder: Path) -> Sample:
    card, X, y = image_task("multilabel", rows)
    files = [folder / f"{row}.png" for row in range(rows)]
    for path, pixels in zip(files, X.load(), strict=True):
        Image.fromarray(pixels).save(path)
    return Sample(card, X, y, files)


class Plain:
    """The same network as ours, in the loop that one writes first."""

    def __init__(self, network: Any, found: Sample, tabular: np.ndarray, side: int, device: str) -> None:
        import torch
        from torchvision.transforms import v2

        self._network, self._device, self._files = network.to(device), device, found.files
        self._tabular, self._targets = torch.from_numpy(tabular), torch.from_numpy(found.y.astype(np.float32))
        self._optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=False, foreach=False)
        with Image.open(found.files[0]) as first:
            kept = round(0.9 * first.width)
        start = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        end = [v2.Resize((side, side), antialias=True), v2.Normalize(list(MEAN), list(STD))]
        blurred = v2.RandomApply([v2.GaussianBlur(3, (0.2, 1.5))], p=0.4)
        moved = v2.RandomAffine(7, translate=(0.06, 0.06))
        self._training = v2.Compose([*start, v2.RandomCrop(kept), end[0], moved, blurred, end[1]])
        self._answering = v2.Compose([*start, v2.CenterCrop(kept), *end])

    def _inputs(self, rows: np.ndarray, transform: Any) -> tuple[Any, Any]:
        import torch

        images = []
        for row in rows:
            with Image.open(self._files[row]) as image:
                images.append(transform(image.convert("RGB")))
        return torch.stack(images).to(self._device), self._tabular[rows].to(self._device)

    def step(self, rows: np.ndarray) -> int:
        import torch

        self._network.train()
        logits = self._network(*self._inputs(rows, self._training))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, self._targets[rows].to(self._device))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return len(rows)

    def answer(self, rows: np.ndarray) -> int:
        import torch

        self._network.eval()
        with torch.no_grad():
            self._network(*self._inputs(rows, self._answering)).cpu()
        return len(rows)


class Tuned:
    """Our classifier with its trainer, a step at a time."""

    def __init__(self, found: Sample, side: int, place: Context) -> None:
        model = MODELS.get(NAME)
        config = model.card.configure("", {"weights": "none", "size": side, "batch_size": BATCH})
        self.built: Any = model.build(config, place)
        self.built._scale = Scale.of(found.X.tabular)
        self.tabular = self.built._scale.apply(found.X.tabular)
        self.built._build(len(found.X.names))
        self.data = ImageData(found.X, self.tabular, found.y)
        losses = losses_of(config, place.task, found.y, unbalanced(len(found.y)))
        self.trainer = Trainer(self.built._network, losses, self.built._recipe(), place.device)
        self._place = place

    @property
    def how(self) -> str:
        return f"{self.built._format}, {self.built._layout}"

    def step(self, rows: np.ndarray) -> int:
        self.built._network.train()
        self.trainer._step(rows, self.data, 0)
        return len(rows)

    def answer(self, *batches: np.ndarray) -> int:
        """Answer batches side by side, as the classifier does."""
        place = self._place
        answers(self.built._network, self.data, batches, place.device, self.built._format, threads=place.threads)
        return sum(map(len, batches))

    def see(self, rows: np.ndarray) -> None:
        """Read and transform images, and no more."""
        viewed, device = self.built._network, self._place.device
        viewed._training(self.data.load(rows)["pixels"].to(device)[:, None])


def measured(found: Sample, side: int, given: argparse.Namespace, place: Context) -> Iterator[Figure]:
    import copy

    tuned = Tuned(found, side, place)
    bare = copy.deepcopy(tuned.built._network.network).float()
    plain = Plain(bare.to(memory_format=_contiguous()), found, tuned.tabular, side, place.device)
    rows = np.random.default_rng(0).permutation(len(found.y))
    batches = [rows[at : at + BATCH] for at in range(0, len(rows) - BATCH + 1, BATCH)]

    def turns(kind: str) -> dict[str, float]:
        def batch(number: int) -> np.ndarray:
            return batches[number % len(batches)]

        def ours(number: int) -> int:
            if kind == "step":
                return tuned.step(batch(number))
            return tuned.answer(*(batch(place.threads * number + lane) for lane in range(place.threads)))

        theirs = getattr(plain, kind)
        return in_turns({"tuned": ours, "plain": lambda number: theirs(batch(number))}, given.turns, place.device)

    aims = {"step": ("training", 4.0 if place.device == "cuda" else 1.3), "answer": ("inference", 1.5)}
    rates = {}
    for kind, (name, target) in aims.items():
        rates[kind] = turns(kind)
        how = f"{rates[kind]['tuned']:,.1f} / {rates[kind]['plain']:,.1f} images a second; {tuned.how}"
        yield Figure(f"a  {name} at {side} / plain loop", rates[kind]["tuned"] / rates[kind]["plain"], target, how)

    def pipeline(number: int) -> int:
        tuned.see(batches[number % len(batches)])
        return BATCH

    seen = in_turns({"see": pipeline}, given.turns, place.device)["see"]
    share = rates["step"]["tuned"] / seen
    how = f"{1e3 / seen:.2f} of {1e3 / rates['step']['tuned']:.1f} ms an image"
    yield Figure(f"b  input's share of a step at {side}", share, 0.05, how, at_most=True)
    work = rates["step"]["tuned"] * operations(tuned, batches[0])
    peak = product_rate(place.device, MATRIX)
    yield Figure(
        f"c  step at {side} / rate of products", work / peak, None, f"{work / 1e9:,.0f} of {peak / 1e9:,.0f} GFLOP/s"
    )
    if place.device == "cuda":
        yield Figure(
            f"d  GPU busy at {side}", busy(tuned, batches, given.turns), 0.9, "share of a step, by torch's profiler"
        )


def _contiguous() -> Any:
    import torch

    return torch.contiguous_format


def operations(tuned: Tuned, rows: np.ndarray) -> float:
    """Return the operations of a training step for each image, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        tuned.step(rows)
    return counted.get_total_flops() / len(rows)


def busy(tuned: Tuned, batches: Sequence[np.ndarray], turns: int) -> float:
    """Return the share of the time of some steps in which a kernel runs."""
    from torch.profiler import ProfilerActivity, profile

    tuned.step(batches[0])
    wait("cuda")
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        start = time.perf_counter()
        for number in range(turns):
            tuned.step(batches[number % len(batches)])
        wait("cuda")
        seconds = time.perf_counter() - start
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs="+", default=[64, 224], help="pixels of a side")
    parser.add_argument("--turns", type=int, default=8, help="batches whose time gives a rate")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="generated images, one turn, 64 pixels")
    given = parser.parse_args()
    if given.quick:
        given.side, given.turns = [64], 1
    device = choose_device(given.device)
    import torch

    torch.set_num_threads(given.threads)
    head(" ".join(["python tests/performance/images.py", *sys.argv[1:]]))
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = generated(64, Path(folder)) if given.quick else published(256)
        except (UnavailableError, UserError) as error:
            print(error, file=sys.stderr)
            return 2
        place = Context(found.card, 0, device, given.threads, FeatureCache(Path(folder) / "cache"))
        for side in given.side:
            for figure in measured(found, side, given, place):
                show(figure)
                missed |= figure.missed
    return int(missed and not given.quick)


if __name__ == "__main__":
    sys.exit(main())
