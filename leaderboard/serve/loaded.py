"""Models in memory: loaded once, when first asked for, and a few of them kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...benchmarks.ensemble_predict import EnsemblePredictor, predictor_of
from ...benchmarks.predict import Predictor
from ...datasets.images import Images
from ...datasets.support.errors import UserError
from .batches import Batcher
from .settings import Settings

if TYPE_CHECKING:
    from ...benchmarks.store import Stored
    from ...zoo.word_weights import Weighed


@dataclass(frozen=True)
class Shot:
    """An image as a model is given it: (side, side) uint8, and by name the numbers beside it, NaN where unknown."""

    pixels: np.ndarray
    beside: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8:
            raise ValueError(f"a shot is (side, side) uint8, got {self.pixels.dtype} {self.pixels.shape}")


def images_of(shots: Sequence[Shot]) -> Images:
    """Return shots, of one size and with the same numbers beside them, as a model of images takes them."""
    names = tuple(shots[0].beside)
    beside = np.array([[shot.beside[name] for name in names] for shot in shots], np.float32)
    pixels = np.stack([shot.pixels for shot in shots])
    return Images(pixels, np.arange(len(shots)), beside.reshape(len(shots), len(names)), names)


class Loaded:
    """A stored model in memory, with its queue."""

    def __init__(
        self, stored: Stored, predictor: Predictor | EnsemblePredictor, pool: Executor, told: Settings
    ) -> None:
        self.record, self._predictor = stored.record, predictor
        self.queue = Batcher(self._probabilities, pool, told.batching, told.limits.waiting, _length)

    def weigh(self, text: str) -> Weighed | None:
        """Return what each word of a text adds to each label, where the model can tell."""
        return self._predictor.weigh(text) if isinstance(self._predictor, Predictor) else None

    def look(self, shot: Shot, label: str) -> np.ndarray | None:
        """Return the (side, side) map from 0 to 1 of what spoke for a label, where the model can tell."""
        if not isinstance(self._predictor, Predictor):
            return None
        try:
            return self._predictor.look(images_of([shot]), label)[0]
        except UserError:
            return None

    def _probabilities(self, items: list[Any]) -> np.ndarray:
        return self._predictor.probabilities(images_of(items) if isinstance(items[0], Shot) else items)


def _length(item: str | Shot) -> int:
    return len(item) if isinstance(item, str) else 0


class Shelf:
    """The models in memory, the longest unused of them given up first; used on one event loop.

    Parameters
    ----------
    load
        Reads a stored model; called in a thread of `pool`, once however many ask at the same time.
    most
        How many are kept. One that still answers when it is given up goes when it has done so.
    """

    def __init__(self, load: Callable[[Stored], Loaded], most: int, pool: Executor) -> None:
        self._load, self._most, self._pool = load, most, pool
        self._held: OrderedDict[tuple[Path, str], asyncio.Future[Loaded]] = OrderedDict()

    async def get(self, stored: Stored) -> Loaded:
        """Return the model of a record, loaded if it is not; raises what loading it raises."""
        key = (stored.path, stored.record.attempt)
        if key not in self._held:
            self._held[key] = asyncio.get_running_loop().run_in_executor(self._pool, self._load, stored)
            self._held[key].add_done_callback(lambda done: self._forget_failed(key, done))
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return await asyncio.shield(self._held[key])

    def __iter__(self) -> Iterator[Loaded]:
        """Yield the models that are loaded, the longest unused first."""
        return (held.result() for held in list(self._held.values()) if held.done() and not held.exception())

    def _forget_failed(self, key: tuple[Path, str], done: asyncio.Future[Loaded]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._held.get(key) is done:
            del self._held[key]


class Loader:
    """Loads stored models as a `Shelf` asks for them."""

    def __init__(self, settings: Settings, pool: Executor) -> None:
        self._settings, self._pool = settings, pool
        self._keras = ""

    def __call__(self, stored: Stored) -> Loaded:
        """Return a stored model in memory.

        Raises
        ------
        UserError, UnavailableError
            If it cannot be loaded here.
        """
        record = stored.record
        if record.framework == "keras":
            # One backend a process: Keras settles it when it is imported.
            backend = str(record.config.get("backend", "tensorflow"))
            if self._keras not in {"", backend}:
                raise UserError(f"this server runs Keras on {self._keras}, the model needs {backend}: start another")
            self._keras = backend
        predictor = predictor_of(stored, self._settings.plugins, serving=True)
        return Loaded(stored, predictor, self._pool, self._settings)
