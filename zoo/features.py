"""Features that do not depend on a fit, computed once a machine and charged to every cell that uses them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..datasets.support.files import lock, sha256_json
from .feature_store import FeatureStore, digests
from .ragged import Rows

Batch = tuple[Sequence[int] | np.ndarray, Sequence[Any] | np.ndarray, float]
Compute = Callable[[list[str]], Generator[Batch, None, None]]
"""Texts -> batches of results as they come, in any order: the (k,) places of the texts in the list, their k values
((d,) float32 vectors, strings, or (length,) int32 rows), and the seconds that the batch cost. What was yielded outlives
an interruption."""

FLUSH_ROWS, FLUSH_SECONDS = 4096, 5.0


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass
class FeatureCache:
    """A cache on disk of what was made of each text, and the account of what it saved and cost.

    Entries are addressed by the text, so any subset in any order finds its rows; a cache folder belongs to one
    kind of feature, its settings and one `scope` (data fingerprint and hardware class: seconds measured on one
    class are never charged on another). Processes that want the same feature at the same time wait for the first.

    Attributes
    ----------
    folder
        Where to keep the values; None computes every time.
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
    _seen: dict[str, np.ndarray] = field(default_factory=dict)
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
        if not len(texts):
            return np.zeros((0, 0), np.float32)
        return self._values(settings, texts, compute, _VECTORS)

    def texts(self, settings: Mapping[str, Any], texts: np.ndarray, compute: Compute) -> np.ndarray:
        """Return an (n,) object array of what `compute` makes of (n,) `texts`, strings both; else as `matrix`."""
        return self._values(settings, texts, compute, _STRINGS)

    def rows(self, settings: Mapping[str, Any], texts: Sequence[str] | np.ndarray, compute: Compute) -> Rows:
        """Return n int32 rows of any length that `compute` makes of (n,) `texts`; else as `matrix`."""
        return self._values(settings, texts, compute, _ROWS)

    def charge(self, settings: Mapping[str, Any], work: Callable[[], float]) -> None:
        """Charge the seconds that `work`, which features need and which makes none (loading weights), returned first.

        It runs only where it never ran with these settings: cells that find their features kept pay the same.
        """

        def compute(names: list[str]) -> Generator[Batch, None, None]:
            yield [0], names, work()

        if not self._bypass:
            self.texts({"charged": dict(settings)}, objects(["once"]), compute)

    def _values(
        self, settings: Mapping[str, Any], texts: Sequence[str] | np.ndarray, compute: Compute, kind: _Kind
    ) -> Any:
        if self._bypass:
            return kind.joined(_all(compute, list(texts))[0])
        start = time.perf_counter()
        name = sha256_json({"settings": settings, "scope": dict(self.scope)})[:20]
        keys, first, inverse = np.unique(digests(texts), return_index=True, return_inverse=True)
        distinct = [str(texts[place]) for place in first]
        if self.folder is None:
            values, seconds = _all(compute, distinct, self.progress)
            found = kind.joined([values[place] for place in inverse])
        else:
            store = FeatureStore(self.folder / name)
            records = store.find(keys)
            if (records["length"] < 0).any():
                with lock(self.folder / name / "lock"):
                    records = self._completed(store, keys, distinct, compute)
            found, seconds = kind.read(store, records[inverse]), records["seconds"]
        self.spent += time.perf_counter() - start
        seen = self._seen.get(name, keys[:0])
        self.charged += math.fsum(seconds[~np.isin(keys, seen)])
        self._seen[name] = np.union1d(seen, keys)
        return found

    def _completed(self, store: FeatureStore, keys: np.ndarray, texts: list[str], compute: Compute) -> np.ndarray:
        """Return the records of all (n,) `keys`, computing and adding those that another process did not by now."""
        missing = np.flatnonzero(store.find(keys)["length"] < 0)
        if len(missing):
            writer = _Writer(store, keys[missing])
            try:
                for batch in _reported(compute, [texts[place] for place in missing], self.progress):
                    writer.add(*batch)
            finally:
                writer.flush()
        records = store.find(keys)
        if (records["length"] < 0).any():
            raise RuntimeError(f"{compute!r} left out {np.count_nonzero(records['length'] < 0)} texts")
        return records


class _Writer:
    """Adds batches to a store, some seconds of work at a time."""

    def __init__(self, store: FeatureStore, keys: np.ndarray) -> None:
        self._store, self._keys = store, keys
        self._places: list[int] = []
        self._parts: list[bytes] = []
        self._seconds: list[float] = []
        self._flushed = time.monotonic()

    def add(self, places: Sequence[int] | np.ndarray, values: Sequence[Any] | np.ndarray, seconds: float) -> None:
        self._places += [int(place) for place in places]
        self._parts += map(_encode, values)
        self._seconds += [seconds / len(places)] * len(places)
        if len(self._places) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._places:
            self._store.append(self._keys[self._places], self._parts, np.array(self._seconds))
        self._places, self._parts, self._seconds = [], [], []
        self._flushed = time.monotonic()


def _reported(compute: Compute, texts: list[str], progress: Callable[[int, int], None]) -> Iterator[Batch]:
    done = 0
    with contextlib.closing(compute(texts)) as batches:  # its processes end here, whatever happened
        for places, values, seconds in batches:
            if len(places):
                yield places, values, seconds
                done += len(places)
                progress(done, len(texts))


def _all(
    compute: Compute, texts: list[str], progress: Callable[[int, int], None] = _silent
) -> tuple[list[Any], np.ndarray]:
    """Return the values of all texts in their order, and the (n,) seconds that they cost."""
    found: list[Any] = [None] * len(texts)
    cost = np.zeros(len(texts))
    for places, values, seconds in _reported(compute, texts, progress):
        for place, value in zip(places, values, strict=True):
            found[place] = value
        cost[places] = seconds / len(places)
    return found, cost


def _encode(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    array = np.asarray(value)
    return array.astype("<i4" if array.dtype == np.int32 else "<f4", copy=False).tobytes()


def _vectors(store: FeatureStore, records: np.ndarray) -> np.ndarray:
    """Return (n, d) float32: every record of a store of vectors has the same length."""
    length = int(records["length"][0])
    found = np.empty((len(records), length // 4), np.float32)
    for places, stretch, starts in store.read(records):
        found[places] = stretch.view("<f4").reshape(-1, length // 4)[starts // length]
    return found


def _strings(store: FeatureStore, records: np.ndarray) -> np.ndarray:
    found = np.empty(len(records), object)
    for place, part in _parts(store, records):
        found[place] = part.tobytes().decode("utf-8", "surrogatepass")
    return found


def _rows(store: FeatureStore, records: np.ndarray) -> Rows:
    offsets = np.concatenate([[0], np.cumsum(records["length"] // 4)])
    values = np.empty(offsets[-1], np.int32)
    for place, part in _parts(store, records):
        values[offsets[place] : offsets[place + 1]] = part.view("<i4")
    return Rows(values, offsets)


def _parts(store: FeatureStore, records: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the place of each of the (n,) records, in the order of the file, and its bytes."""
    for places, stretch, starts in store.read(records):
        for place, start in zip(places, starts, strict=True):
            yield int(place), stretch[start : start + records["length"][place]]


def objects(values: list[str]) -> np.ndarray:
    """Return an (n,) object array of strings."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


class _Kind(NamedTuple):
    """How values of a kind are put together: from a list of them, and from the records of a store."""

    joined: Callable[[list[Any]], Any]
    read: Callable[[FeatureStore, np.ndarray], Any]


_VECTORS, _STRINGS, _ROWS = _Kind(np.stack, _vectors), _Kind(objects, _strings), _Kind(Rows.of, _rows)
