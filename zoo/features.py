"""Features that do not depend on a fit, computed once a machine and charged to every cell that uses them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.support.files import atomic_path, lock, sha256_json

Compute = Callable[[list[str], Callable[[int, int], None]], tuple[np.ndarray, np.ndarray]]
"""Texts and a progress call -> (n, d) float32 features and (n,) seconds that each text cost."""


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass
class FeatureCache:
    """A cache of one feature vector a text, on disk, and the account of what it saved and cost.

    Entries are addressed by the text, so any subset in any order finds its rows; a cache folder belongs to one
    kind of feature, its settings and one `scope` (data fingerprint and hardware class: seconds measured on one
    class are never charged on another).

    Attributes
    ----------
    folder
        Where to keep the vectors; None computes every time.
    scope
        JSON values that part caches from one another.
    spent
        Seconds really spent on features in this process.
    charged
        Seconds that the features used so far cost when they were computed.
    """

    folder: Path | None = None
    scope: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[int, int], None] = _silent
    spent: float = 0.0
    charged: float = 0.0
    _seen: set[bytes] = field(default_factory=set)
    _bypass: bool = False

    @contextlib.contextmanager
    def bypass(self) -> Iterator[None]:
        """Compute as for a text never seen, and charge nothing: what a latency measurement needs."""
        before, self._bypass = self._bypass, True
        try:
            yield
        finally:
            self._bypass = before

    def matrix(self, settings: Mapping[str, Any], texts: np.ndarray, compute: Compute) -> np.ndarray:
        """Return (n, d) float32 features of (n,) `texts`, computing those that are not kept yet.

        Parameters
        ----------
        settings
            JSON values that name the kind of feature and all that changes it.
        """
        if self._bypass:
            return compute(list(texts), _silent)[0]
        start = time.perf_counter()
        digests = [_digest(text) for text in texts]
        if self.folder is None:
            vectors, seconds = self._fresh(digests, texts, compute)
        else:
            folder = self.folder / sha256_json({"settings": settings, "scope": dict(self.scope)})[:20]
            with lock(folder / "lock"):
                vectors, seconds = self._kept(folder, digests, texts, compute)
        self.spent += time.perf_counter() - start
        fresh = set(digests) - self._seen
        self.charged += math.fsum(seconds[digest] for digest in fresh)
        self._seen |= fresh
        return np.stack([vectors[digest] for digest in digests]) if digests else np.zeros((0, 0), np.float32)

    def _fresh(
        self, digests: list[bytes], texts: np.ndarray, compute: Compute
    ) -> tuple[dict[bytes, np.ndarray], dict[bytes, float]]:
        wanted = dict(zip(digests, texts, strict=True))
        matrix, cost = compute(list(wanted.values()), self.progress)
        return dict(zip(wanted, matrix, strict=True)), dict(zip(wanted, map(float, cost), strict=True))

    def _kept(
        self, folder: Path, digests: list[bytes], texts: np.ndarray, compute: Compute
    ) -> tuple[dict[bytes, np.ndarray], dict[bytes, float]]:
        vectors: dict[bytes, np.ndarray] = {}
        seconds: dict[bytes, float] = {}
        for shard in sorted(folder.glob("*.npz")):
            with np.load(shard) as kept:
                keys = [key.tobytes() for key in kept["digests"]]
                vectors.update(zip(keys, kept["matrix"], strict=True))
                seconds.update(zip(keys, map(float, kept["seconds"]), strict=True))
        missing = [index for index, digest in enumerate(digests) if digest not in vectors]
        if missing:
            found = self._fresh([digests[i] for i in missing], texts[missing], compute)
            _write_shard(folder, *found)
            vectors |= found[0]
            seconds |= found[1]
        return vectors, seconds


def _write_shard(folder: Path, vectors: Mapping[bytes, np.ndarray], seconds: Mapping[bytes, float]) -> None:
    name = hashlib.blake2b(b"".join(vectors), digest_size=10).hexdigest()
    digests = np.frombuffer(b"".join(vectors), np.uint8).reshape(len(vectors), -1)
    with atomic_path(folder / f"{name}.npz") as path, path.open("wb") as stream:
        costs = np.fromiter(seconds.values(), np.float64)
        np.savez(stream, digests=digests, matrix=np.stack(list(vectors.values())), seconds=costs)
