"""Texts as token ids: made once and kept on disk, cut to what a network reads, and batched by length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.support.errors import unknown_name
from ..datasets.support.files import atomic_path, sha256_json

if TYPE_CHECKING:
    from torch import Tensor

KEPT_FROM = 64
"""Fewer texts than this are tokenised anew: a single prediction leaves no file behind."""
CHUNK = 4096
POOL = 50
"""Batches that are sorted by length together: enough for 2 % of padding, few enough that epochs differ."""
OVERLAP = 0.25
"""The share of a window that the next one reads again."""
MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")
"""What tasks of entity pairs write around every mention (`zoobench.datasets.marking`)."""


@dataclass(frozen=True)
class Tokens:
    """Rows of token ids: row i is ``ids[offsets[i]:offsets[i + 1]]``.

    Attributes
    ----------
    ids
        (tokens,) int32, in memory or mapped from a file.
    offsets
        (n + 1,) int64.
    """

    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int] | np.ndarray]) -> Tokens:
        """Join rows of ids."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.concatenate([np.asarray(row, np.int32) for row in rows]) if len(rows) else np.zeros(0, np.int32)
        return cls(ids, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64 tokens of each row."""
        return np.diff(self.offsets)


def tokenise(tokenizer: Any, texts: Sequence[str], folder: Path | None = None) -> Tokens:
    """Return the ids of whole `texts`, uncut and without the tokenizer's own marks around them.

    Parameters
    ----------
    folder
        Where the ids are kept, by texts and tokenizer, and mapped from; None, or few texts, makes them anew.
    """
    if folder is None or len(texts) < KEPT_FROM:
        return _fresh(tokenizer, texts)
    place = folder / "tokens" / _key(tokenizer, texts)
    paths = [place.with_suffix(f".{part}.npy") for part in ("ids", "offsets")]
    if not paths[1].exists():
        made = _fresh(tokenizer, texts)
        for path, array in zip(paths, (made.ids, made.offsets), strict=True):
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
    ids, offsets = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
    return Tokens(ids, np.asarray(offsets))


def _fresh(tokenizer: Any, texts: Sequence[str]) -> Tokens:
    rows: list[np.ndarray] = []
    for first in range(0, len(texts), CHUNK):
        # Lone surrogates are no text to a tokenizer written in Rust.
        chunk = [text.encode("utf-8", "replace").decode() for text in texts[first : first + CHUNK]]
        found = tokenizer(chunk, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        rows += [np.asarray(ids, np.int32) for ids in found]
    return Tokens.of(rows)


def _key(tokenizer: Any, texts: Sequence[str]) -> str:
    """Name texts and tokenizer; the latter by what it makes of texts, not by the state its last call left."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    digest = hashlib.blake2b(backend.to_str().encode(), digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return sha256_json({"tokens": digest.hexdigest(), "version": 1})[:32]


def add_markers(tokenizer: Any, texts: Sequence[str]) -> tuple[int, ...]:
    """Add those entity markers that `texts` hold to the tokenizer, one token each; return the ids in use.

    Returns
    -------
    tuple
        The ids of `MARKERS` in their order, or () where the texts hold none.
    """
    from tokenizers import AddedToken

    if not any(marker in text for text in texts for marker in MARKERS):
        return ()
    tokenizer.add_tokens(
        [AddedToken(marker, special=True, normalized=False) for marker in MARKERS], special_tokens=True
    )
    return tuple(tokenizer.convert_tokens_to_ids(list(MARKERS)))


def frame_of(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and after a text ([CLS] and [SEP], with BERT's)."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = (at for at in range(len(full)) if full[at : at + len(bare)] == bare)
    at = next(starts, len(full) - len(bare))
    return full[:at], full[at + len(bare) :]


@dataclass(frozen=True)
class Layout:
    """How a text's ids become rows that a network reads: the tokenizer's frame around what truncation keeps.

    Attributes
    ----------
    start, end
        Ids before and after a text.
    max_length
        Tokens of a row at most, frame and lead included.
    truncation
        ``head`` keeps the first tokens; ``head-tail`` the first half and the last; ``windows`` makes overlapping
        rows of one text; ``entities`` keeps what stands nearest to a marked mention.
    markers
        Ids of `MARKERS`, or ().
    """

    start: Sequence[int]
    end: Sequence[int]
    max_length: int
    truncation: str
    markers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.truncation not in TRUNCATIONS:
            raise unknown_name("truncation", self.truncation, TRUNCATIONS)

    def rows(self, texts: Tokens, leads: Tokens | None = None) -> tuple[Tokens, np.ndarray]:
        """Return the rows of `texts` and (rows,) int64: the text that each one is of.

        Parameters
        ----------
        leads
            Ids that every row of a text begins with, whatever is cut.
        """
        found: list[np.ndarray] = []
        owners: list[int] = []
        start, end = np.asarray(self.start, np.int32), np.asarray(self.end, np.int32)
        for number, ids in enumerate(texts):
            before = start if leads is None else np.concatenate([start, leads[number]])
            room = max(1, self.max_length - len(before) - len(end))
            pieces = [ids] if len(ids) <= room else TRUNCATIONS[self.truncation](ids, room, self.markers)
            found += [np.concatenate([before, piece, end]) for piece in pieces]
            owners += [number] * len(pieces)
        return Tokens.of(found), np.asarray(owners, np.int64)


def _head(ids: np.ndarray, room: int, markers: tuple[int, ...]) -> list[np.ndarray]:
    del markers
    return [ids[:room]]


def _head_tail(ids: np.ndarray, room: int, markers: tuple[int, ...]) -> list[np.ndarray]:
    del markers
    return [np.concatenate([ids[: room - room // 2], ids[len(ids) - room // 2 :]])]


def _windows(ids: np.ndarray, room: int, markers: tuple[int, ...]) -> list[np.ndarray]:
    del markers
    stride = max(1, room - int(room * OVERLAP))
    # The last window is moved back to be full: what it reads again costs nothing that padding would not.
    starts = [*range(0, len(ids) - room, stride), len(ids) - room]
    return [ids[at : at + room] for at in starts]


def _entities(ids: np.ndarray, room: int, markers: tuple[int, ...]) -> list[np.ndarray]:
    """Keep the tokens nearest to a mention; before all others one mention of each entity, those closest together."""
    if not markers or not np.isin(ids, markers).any():
        return _head(ids, room, markers)
    starts = [np.flatnonzero(ids == markers[0]), np.flatnonzero(ids == markers[2])]
    opened = np.cumsum(np.isin(ids, (markers[0], markers[2]))) - np.cumsum(np.isin(ids, (markers[1], markers[3])))
    inside = np.flatnonzero((opened > 0) | np.isin(ids, markers))
    place = np.arange(len(ids))
    rank = _distance(place, inside) + 2
    pair = _closest(*starts)
    rank[np.isin(place, inside)] = 1 + (_distance(place, pair) / len(ids))[np.isin(place, inside)]
    rank[pair] = 0
    kept = np.argsort(rank, kind="stable")[:room]
    return [ids[np.sort(kept)]]


def _closest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the places of the opening markers that stand closest together, one of each entity that is there."""
    if not len(first) or not len(second):
        return np.concatenate([first, second])[:1]
    gaps = np.abs(first[:, None] - second[None, :])
    row, column = np.unravel_index(gaps.argmin(), gaps.shape)
    return np.array([first[row], second[column]])


def _distance(place: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """(n,) float: how far each place is from the nearest of the sorted places `marked`."""
    marked = np.sort(marked)
    right = np.searchsorted(marked, place).clip(0, len(marked) - 1)
    left = (right - 1).clip(0)
    return np.minimum(np.abs(place - marked[left]), np.abs(place - marked[right])).astype(float)


TRUNCATIONS: dict[str, Callable[[np.ndarray, int, tuple[int, ...]], list[np.ndarray]]] = {
    "head": _head,
    "head-tail": _head_tail,
    "windows": _windows,
    "entities": _entities,
}


def buckets(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return shuffled batches of row numbers, `size` rows of like length each, longest first in a batch.

    `rng` deals the rows into pools of `POOL` batches, which are sorted apart, and shuffles the batches.
    """
    order = rng.permutation(len(lengths))
    found: list[np.ndarray] = []
    for first in range(0, len(order), size * POOL):
        pool = order[first : first + size * POOL]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        found += [pool[at : at + size] for at in range(0, len(pool), size)]
    return [found[at] for at in rng.permutation(len(found))]


def cut(rows: np.ndarray, lengths: np.ndarray, size: int, tokens: int) -> list[np.ndarray]:
    """Cut row numbers, longest first, into parts of at most `size` rows and `tokens` tokens, padding included.

    A row that is longer than that is a part of its own.
    """
    found: list[np.ndarray] = []
    at = 0
    while at < len(rows):
        fit = max(1, min(size, tokens // int(lengths[rows[at]])))
        found.append(rows[at : at + fit])
        at += fit
    return found


def padding_share(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """Return the share of the batches' tokens that are padding."""
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / max(1, computed)


def padded(tokens: Tokens, rows: np.ndarray, pad: int) -> dict[str, Tensor]:
    """Return ``input_ids`` (rows, tokens) int64 and, where any is padding, ``attention_mask`` (rows, tokens) bool.

    No mask lets attention take its faster way.
    """
    import torch

    chosen = [tokens[row] for row in rows]
    lengths = np.array([len(row) for row in chosen])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad, np.int64)
    ids[mask] = np.concatenate(chosen)
    found = {"input_ids": torch.from_numpy(ids)}
    return found if mask.all() else found | {"attention_mask": torch.from_numpy(mask)}
