"""An append-only store of byte strings, found by a digest of the text that they were made from.

Two files in one folder::

    data    the byte strings, one after another
    index   one 40-byte record each: digest, seconds that it cost, offset and length in `data`

A record is written after its bytes have reached the disk, and readers count whole records alone: a process that
is killed at any moment loses what it was adding and nothing else. A look-up reads the index (40 MB for a
million texts) and, of the data, what was asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

DIGEST = np.dtype("S16")
_RECORD = np.dtype([("digest", DIGEST), ("seconds", "<f8"), ("offset", "<i8"), ("length", "<i8")])
_BLOCK_BYTES = 1 << 24


def digests(texts: Iterable[str]) -> np.ndarray:
    """Return the (n,) 16-byte BLAKE2b digests of texts; lone surrogates are texts as well."""
    found = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts)
    return np.frombuffer(b"".join(found), DIGEST)


class FeatureStore:
    """The store in `folder`. Any number of processes may read; who appends must hold a lock on it.

    Parameters
    ----------
    folder
        Made when something is appended first.
    """

    def __init__(self, folder: Path) -> None:
        self._index, self._data = folder / "index", folder / "data"

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the (n,) records of the (n,) sorted, distinct digests `wanted`; the length of a missing one is -1."""
        found = np.zeros(len(wanted), _RECORD)
        found["length"] = -1
        index = self._records()
        if not len(index) or not len(wanted):
            return found
        held = np.ascontiguousarray(index["digest"])
        place = np.minimum(np.searchsorted(wanted, held), len(wanted) - 1)
        hits = wanted[place] == held
        found[place[hits]] = index[hits]
        return found

    def read(self, records: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (k,) positions in `records`, a stretch of the data that holds them, and (k,) their starts therein.

        A block of the file is mapped at a time, so that a look-up of everything holds nothing twice.
        """
        # By length second: what is empty stands where its neighbour starts, and must not end the stretch.
        order = np.lexsort((records["length"], records["offset"]))
        last = records["offset"][order] + records["length"][order]
        start = 0
        while start < len(order):
            first = int(records["offset"][order[start]])
            stop = max(start + 1, int(np.searchsorted(last, first + _BLOCK_BYTES, side="right")))
            part = order[start:stop]
            size = int(last[stop - 1]) - first
            mapped = np.memmap(self._data, np.uint8, "r", first, (size,)) if size else np.zeros(0, np.uint8)
            yield part, mapped, records["offset"][part] - first
            del mapped
            start = stop

    def append(self, keys: np.ndarray, parts: Sequence[bytes], seconds: np.ndarray) -> None:
        """Add byte strings under (n,) digests `keys`, with the (n,) seconds that they cost."""
        self._index.parent.mkdir(parents=True, exist_ok=True)
        kept = self._records()
        end = int(kept["offset"][-1] + kept["length"][-1]) if len(kept) else 0
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        added = np.zeros(len(parts), _RECORD)
        with self._data.open("ab") as data, self._index.open("ab") as index:
            # What a process that was killed left half done: parts of a record, bytes without one.
            index.truncate(len(kept) * _RECORD.itemsize)
            data.truncate(end)
            added["digest"], added["seconds"], added["length"] = keys, seconds, lengths
            added["offset"] = end + np.cumsum(lengths) - lengths
            for stream, content in ((data, b"".join(parts)), (index, added.tobytes())):
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())

    def _records(self) -> np.ndarray:
        """Return the whole records whose bytes are all there."""
        if not self._index.exists():
            return np.zeros(0, _RECORD)
        content = self._index.read_bytes()
        found = np.frombuffer(content, _RECORD, len(content) // _RECORD.itemsize)
        return found[found["offset"] + found["length"] <= self._data.stat().st_size]
