"""Features that one machine computed, handed to the others: what a node's cache has gained, in parts known by content.

A node keeps the features of each scope (data, hardware class, device, threads) in a folder of its own. Before a cell
it takes what others gave of that scope, after it gives what is new. A part is some records of one feature store: it is
called after the SHA-256 of its bytes, so that one that is damaged or half written is seen, and left where it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ...datasets.support.files import lock
from ...zoo.feature_store import FeatureStore
from .depot import Depot

PART_BYTES = 1 << 26
_STORE = re.compile(r"[0-9a-f]{20}")


class Shelf(Protocol):
    """Where parts lie between machines, by scope and name."""

    def names(self, scope: str) -> list[str]:
        """Return the names of the parts of a scope."""
        ...

    def get(self, scope: str, name: str) -> bytes | None:
        """Return a part; None where it is gone."""
        ...

    def put(self, scope: str, name: str, part: bytes) -> None:
        """Keep a part."""
        ...


class DepotShelf:
    """Parts below a URL: they outlive the run."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot

    def names(self, scope: str) -> list[str]:
        """Return the names of the parts of a scope."""
        return self._depot.names(f"features/{scope}")

    def get(self, scope: str, name: str) -> bytes | None:
        """Return a part; None where it is gone."""
        return self._depot.get(f"features/{scope}/{name}")

    def put(self, scope: str, name: str, part: bytes) -> None:
        """Keep a part."""
        self._depot.put(f"features/{scope}/{name}", part)


class Exchange:
    """One node's side of the exchange. Safe to use from several threads.

    Parameters
    ----------
    folder
        Holds a folder of feature stores for each scope.
    """

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._shelf, self._folder = shelf, folder
        self._guard = threading.Lock()
        self._seen: set[tuple[str, str]] = set()
        self._shared: dict[Path, np.ndarray] = {}

    def folder(self, scope: str) -> Path:
        """Return the folder of the feature cache of a scope."""
        return self._folder / scope

    def take(self, scope: str) -> int:
        """Add what other machines gave of a scope to the cache of this one; return how many parts were added."""
        added = 0
        with self._guard:
            for name in self._shelf.names(scope):
                if (scope, name) in self._seen:
                    continue
                part = self._shelf.get(scope, name)
                if part is None:
                    continue
                self._seen.add((scope, name))
                if hashlib.sha256(part).hexdigest() == name:
                    added += self._add(self.folder(scope), part)
        return added

    def give(self, scope: str) -> int:
        """Hand out what the cache of this machine has of a scope and others have not; return how many parts."""
        given = 0
        with self._guard:
            for store in sorted(self.folder(scope).glob("*/index")):
                if not _STORE.fullmatch(store.parent.name):
                    continue
                for part in self._new(store.parent):
                    name = hashlib.sha256(part).hexdigest()
                    self._shelf.put(scope, name, part)
                    self._seen.add((scope, name))
                    given += 1
        return given

    def _new(self, folder: Path) -> Iterator[bytes]:
        """Yield the records of a store that were not shared yet, some `PART_BYTES` at a time."""
        store = FeatureStore(folder)
        records = store._records()  # the whole index, which no look-up asks for
        shared = self._shared.get(folder, records["digest"][:0])
        fresh = records[~np.isin(records["digest"], shared)]
        ends = np.cumsum(fresh["length"] + records.itemsize)
        start = 0
        while start < len(fresh):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + PART_BYTES, side="right")))
            yield _part(folder.name, store, fresh[start:stop])
            start = stop
        self._shared[folder] = records["digest"].copy()

    def _add(self, scope: Path, part: bytes) -> int:
        with contextlib.suppress(ValueError, KeyError, OSError, zipfile.BadZipFile):
            with np.load(io.BytesIO(part), allow_pickle=False) as kept:
                found = {name: kept[name] for name in ("store", "digest", "seconds", "length", "data")}
            name = str(found["store"])
            if _STORE.fullmatch(name):
                folder = scope / name
                _append(FeatureStore(folder), folder, found)
                known = self._shared.get(folder)
                self._shared[folder] = np.union1d(found["digest"][:0] if known is None else known, found["digest"])
                return 1
        return 0


def _part(name: str, store: FeatureStore, records: np.ndarray) -> bytes:
    parts = [b""] * len(records)
    for places, stretch, starts in store.read(records):
        for place, start in zip(places, starts, strict=True):
            parts[place] = stretch[start : start + records["length"][place]].tobytes()
    content = io.BytesIO()
    arrays = {field: np.ascontiguousarray(records[field]) for field in ("digest", "seconds", "length")}
    np.savez(content, allow_pickle=False, store=np.array(name), data=np.frombuffer(b"".join(parts), np.uint8), **arrays)
    return content.getvalue()


def _append(store: FeatureStore, folder: Path, found: dict[str, np.ndarray]) -> None:
    keys, first = np.unique(found["digest"], return_index=True)
    starts = np.cumsum(found["length"]) - found["length"]
    with lock(folder / "lock"):
        missing = store.find(keys)["length"] < 0
        chosen = first[missing]
        data = found["data"].tobytes()
        parts = [data[starts[place] : starts[place] + found["length"][place]] for place in chosen]
        if parts:
            store.append(keys[missing], parts, found["seconds"][chosen])
