"""Image classifiers: bytes and the numbers beside them to probabilities, by a convolutional network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.core import TaskCard
from ..datasets.images import Images
from ..datasets.support.errors import UserError
from ..datasets.support.files import read_json, write_json
from .balancing import BALANCES, Balanced, balanced, unbalanced
from .class_weights import log_weights
from .core import Config, Context, Report, Scalar, Scorer
from .epoch_scores import epoch_scores
from .image_data import ImageData, Scale
from .image_speed import FORMATS, LAYOUTS, measured_step
from .import_order import without_triton_beside_tensorflow
from .losses import LOSSES, Loss, loss_of, weighted
from .memory import Halving
from .recipe import OPTIMIZERS, SCHEDULES, Recipe
from .training import Trainer, activated, answers, moved, seeded

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .networks.pyramid import ImageNetwork

Architecture = Callable[[Config, int, int], "ImageNetwork"]
"""Configuration, labels and numbers beside an image -> network."""

WEIGHTS, SETTINGS = "network.safetensors", "images.json"
CHECKPOINTS = ("task", "f1_macro")
IMAGE: dict[str, Scalar] = {
    "weights": "imagenet",
    "size": 224,
    "augmentation": "published",
    "balance": "none",
    "loss": "balanced",
    "dropout": 0.3,
    "tabular": False,
    "cycles": 3,
    # Of each cycle.
    "epochs": 5,
    # Between CheXNet's 16 and the published 160: a fold of 1,000 images has few steps otherwise.
    "batch_size": 32,
    "accumulation": 1,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "plateau",
    "warmup": 0.1,
    # 0 trains all epochs, as published; the best one's weights are kept.
    "patience": 0,
    "checkpoint": "f1_macro",
    # None is published.
    "clip": 0.0,
    "compile": False,
    "gpus": 1,
    # auto: the fastest on the device, as measured.
    "number_format": "auto",
    "memory_layout": "auto",
}
"""The settings that all image networks have. The published ones (system 2) but for batch, balancing and weights."""
IMAGE_CHOICES: dict[str, tuple[Scalar, ...]] = {
    "augmentation": ("published", "none"),
    "balance": BALANCES,
    "loss": (*LOSSES, "published"),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "checkpoint": CHECKPOINTS,
    "number_format": ("auto", *FORMATS),
    "memory_layout": ("auto", *LAYOUTS),
}
PUBLISHED: dict[str, Scalar] = {
    "balance": "published",
    "loss": "published",
    "batch_size": 160,
}

# System 2's table 1. That they weigh the positives is inferred: its logged losses (0.59 falling to 0.40) fit that, and
# not a weight of the whole label (about 0.8 for its base rates).
PUBLISHED_WEIGHTS = {
    "hernia": 3.0943,
    "nodule": 2.1768,
    "fibrosis": 3.0209,
    "edema": 2.8127,
    "cardiomegaly": 2.5823,
    "effusion": 1.6668,
    "pneumothorax": 2.3087,
    "pleural_thickening": 2.4494,
    "consolidation": 2.4346,
    "emphysema": 2.6907,
    "pneumonia": 3.0943,
    "mass": 2.2459,
    "atelectasis": 1.8179,
    "infiltration": 1.6402,
}
RAISED = {"pneumonia": 4.5, "fibrosis": 3.8, "consolidation": 4.3}
RAISED_FROM = 2
"""The cycle, from 0, from which the weights of weak classes are raised (table 2)."""
_ALIASES = {"pleural": "pleural_thickening"}  # ChestMNIST's name of it
THINNED_BEFORE = "published"
"""The protocol of which system 2's first step of balancing is a part."""


class ImageClassifier:
    """A network over images, trained.

    Parameters
    ----------
    architecture
        Builds the network; asked again with weights "none" for an artefact.
    config
        The settings of `IMAGE`, and the architecture's.

    Attributes
    ----------
    notes_
        Number format and layout, batches that did not fit, unknown numbers, how many rows the balancing made.
    losses_, optimizer_
        The loss of each step, and what the optimizer ended with.
    """

    notes_: tuple[str, ...] = ()
    losses_: Sequence[float] | None = None
    optimizer_: Optimizer | None = None

    def __init__(self, architecture: Architecture, config: Config, context: Context) -> None:
        without_triton_beside_tensorflow()
        self._architecture, self._config, self._context = architecture, config, context
        if context.task.kind != "multilabel" and config["balance"] == "published":
            raise UserError("balance=published counts the labels of a row: it is for multi-label tasks; use none")
        self._network: Any = None
        self._scale: Any = None
        self._format = self._layout = ""
        self._asking = Halving("answered")

    def fit(
        self,
        X: Images,
        y: np.ndarray,
        *,
        X_val: Images | None = None,
        y_val: np.ndarray | None = None,
        seed: int = 0,
        scorer: Scorer | None = None,
        report: Report | None = None,
    ) -> ImageClassifier:
        """Fit on (n,) images; with validation rows and a scorer the best epoch's weights are kept.

        Raises
        ------
        UserError, UnavailableError
            Before the first step: for weights that do not load, or a setting that does not fit the task.
        FloatingPointError
            If a loss is not finite; it names the epoch and the step.
        """
        self.notes_, self._asking = (), Halving("answered")
        self._note(*self._unread(X))
        shown = self._shown(y, seed)
        losses = losses_of(self._config, self._context.task, y, shown)
        with seeded(seed, self._context.device):
            self._scale = Scale.of(X.tabular)
            self._build(len(X.names))
            data = ImageData(X, self._scale.apply(X.tabular), y, shown, seed)
            trainer = Trainer(self._network, losses, self._recipe(), self._context.device)
            trainer.keep_in(self._context.checkpoints, (self._asking, ("rows", "notes")))
            validate, watch = None, None
            if X_val is not None and y_val is not None and scorer is not None:
                validate, watch = self._judges(X_val, y_val, scorer, losses[0])
            trainer.fit(data, validate, report, watch)
        self.losses_, self.optimizer_ = trainer.losses, trainer.optimizer
        self._note(*trainer.notes, f"trained in {self._format}, {self._layout}")
        return self

    def predict_proba(self, X: Images) -> np.ndarray:
        """Return (n, labels) float32 probabilities of (n,) images."""
        if not len(X):
            return np.zeros((0, len(self._context.task.labels)), np.float32)
        return activated(self._logits(X), self._context.task.kind)

    def grad_cam(self, X: Images, label: int) -> np.ndarray:
        """Return (n, side, side) float32 maps from 0 to 1 of what spoke for a label in (n,) images.

        Of the last map before pooling; of a pyramid the largest one.
        """
        from .grad_cam import grad_cam
        from .image_transforms import CROP

        inputs = moved(ImageData(X, self._scale.apply(X.tabular)).load(np.arange(len(X))), self._context.device)
        side = inputs["pixels"].shape[-1]
        return grad_cam(self._network, inputs, label, side, round(CROP * side))

    @property
    def n_parameters(self) -> int:
        """The number of weights."""
        return sum(weight.numel() for weight in self._network.parameters())

    def save(self, folder: Path) -> None:
        """Write weights, and how the numbers beside an image are scaled."""
        from safetensors.torch import save_file

        save_file({name: held.contiguous() for name, held in self._network.state_dict().items()}, folder / WEIGHTS)
        scale = {name: getattr(self._scale, name).tolist() for name in ("fill", "low", "span")}
        place = {"format": self._format, "layout": self._layout, "device": self._context.device}
        write_json(folder / SETTINGS, {"scale": scale, **place})

    def load(self, folder: Path) -> ImageClassifier:
        """Read what `save` wrote; nothing is fetched, and nothing in it runs code."""
        from safetensors.torch import load_file

        kept = read_json(folder / SETTINGS)
        self.notes_, self._asking = (), Halving("answered")
        self._scale = Scale(**{name: np.array(part, np.float32) for name, part in kept["scale"].items()})
        # What was fastest on a GPU need not be so here; fp32 is right everywhere.
        self._format = str(kept["format"]) if kept["device"] == self._context.device else "fp32"
        self._layout = str(kept["layout"])
        self._assemble(self._architecture({**self._config, "weights": "none"}, *self._widths(len(self._scale.fill))))
        self._network.load_state_dict(load_file(folder / WEIGHTS))
        return self

    def _widths(self, columns: int) -> tuple[int, int]:
        return len(self._context.task.labels), columns

    def _build(self, columns: int) -> None:
        """Build the network, and choose its number format and layout."""
        config, network = self._config, self._architecture(self._config, *self._widths(columns))
        formats = FORMATS if config["number_format"] == "auto" else (str(config["number_format"]),)
        layouts = LAYOUTS if config["memory_layout"] == "auto" else (str(config["memory_layout"]),)
        self._format, self._layout = measured_step(
            self._context.features,
            self._context.device,
            network,
            (len(network.mean), int(config["size"]), columns, int(config["batch_size"])),
            list(product(formats, layouts)),
        )
        self._assemble(network)

    def _assemble(self, network: ImageNetwork) -> None:
        from .networks.viewed import Viewed

        config = self._config
        viewed = Viewed(network, int(config["size"]), str(config["augmentation"]), self._layout == "channels-last")
        self._network = viewed.to(self._context.device)

    def _recipe(self) -> Recipe:
        config = self._config
        return Recipe(
            epochs=int(config["cycles"]) * int(config["epochs"]),
            batch_size=int(config["batch_size"]),
            accumulation=int(config["accumulation"]),
            learning_rate=float(config["learning_rate"]),
            weight_decay=float(config["weight_decay"]),
            warmup=float(config["warmup"]),
            patience=int(config["patience"]),
            clip=float(config["clip"]),
            compile=bool(config["compile"]),
            gpus=int(config["gpus"]),
            number_format=self._format,
            optimizer=str(config["optimizer"]),
            schedule=str(config["schedule"]),
        )

    def _shown(self, y: np.ndarray, seed: int) -> Balanced:
        if self._config["balance"] == "none":
            return unbalanced(len(y))
        shown = balanced(y, self._context.task.labels, seed, thinned=self._context.protocol == THINNED_BEFORE)
        self._note(f"balanced: {len(y)} rows became {len(shown.rows)}, {int(shown.mirrored.sum())} of them mirrored")
        return shown

    def _judges(
        self, X: Images, y: np.ndarray, scorer: Scorer, loss: Loss
    ) -> tuple[Callable[[], float], Callable[[], Mapping[str, float]]]:
        """Return what scores the network as it is on labelled rows, and what tells more of those answers.

        The loss is the first cycle's in all cycles: others weigh the classes otherwise, and could not be compared.
        """
        import torch

        targets = torch.from_numpy(y.astype(np.float32 if y.ndim == 2 else np.int64))
        told: dict[str, float] = {}

        def validate() -> float:
            logits = self._logits(X)
            value = loss.total(torch.from_numpy(logits), targets) / loss.weight(targets)
            found = activated(logits, self._context.task.kind)
            told.update({"val_loss": float(value), **epoch_scores(y, found)})
            return told["f1_macro"] if self._config["checkpoint"] == "f1_macro" else scorer(y, found)

        def watch() -> Mapping[str, float]:
            return told

        return validate, watch

    def _logits(self, X: Images) -> np.ndarray:
        data = ImageData(X, self._scale.apply(X.tabular))
        rows = data.all(int(self._config["batch_size"]))
        place = self._context
        found = answers(self._network, data, rows, place.device, self._format, self._asking, place.threads)
        self._note(*self._asking.notes)
        return found

    def _note(self, *notes: str) -> None:
        self.notes_ = tuple(dict.fromkeys((*self.notes_, *notes)))

    def _unread(self, X: Images) -> Iterator[str]:
        """Say what the configuration asks for and the training fold does not hold."""
        for name, unknown in zip(X.names, (~np.isfinite(X.tabular)).sum(axis=0), strict=True):
            if unknown:
                yield f"{name} is not known of {unknown} of {len(X)} training images: their mean was taken"
        if self._config["tabular"] and not X.names:
            yield "nothing stands beside the images of this task: tabular changes nothing"
        if X.side < int(self._config["size"]):
            yield f"images are kept at {X.side} pixels: they were enlarged to {self._config['size']}"


def losses_of(config: Config, task: TaskCard, y: np.ndarray, shown: Balanced) -> list[Loss]:
    """Return the loss of each cycle, weighed by what is trained on.

    Setting ``loss`` is one of `losses.LOSSES`, or "published": the published weight of each finding's positives, raised
    for weak ones in the third cycle; on other labels the formula of those weights, `log_weights`, of the rows before
    they were thinned: the published weights are those of such counts.

    Raises
    ------
    UserError
        For an unknown name, or "published" on classes that exclude one another.
    """
    cycles, name = int(config["cycles"]), str(config["loss"])
    if name != "published":
        return [loss_of(name, task.kind, y[shown.rows], len(task.labels))] * cycles
    if task.kind != "multilabel":
        raise UserError("loss=published weighs the labels of a row: it is for multi-label tasks; use balanced")
    return [weighted(published_weights(task.labels, y[shown.grown], cycle)) for cycle in range(cycles)]


def published_weights(labels: Sequence[str], y: np.ndarray, cycle: int) -> np.ndarray:
    """Return the (labels,) float32 weights of a cycle, from 0, for (n, labels) targets of the training fold."""
    plain = [re.sub(r"[\s-]+", "_", label.casefold()) for label in labels]
    names = [_ALIASES.get(name, name) for name in plain]
    if not set(names) <= set(PUBLISHED_WEIGHTS):
        return log_weights(y)
    weights = PUBLISHED_WEIGHTS | (RAISED if cycle >= RAISED_FROM else {})
    return np.array([weights[name] for name in names], np.float32)


def beside(X: Images) -> np.ndarray:
    """Return the (n, columns) numbers beside images, NaN where one is not known."""
    return X.tabular
