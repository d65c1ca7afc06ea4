"""Texts as token ids: made once and kept on disk, cut to what a network reads, and batched by length."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.support.errors import unknown_name
from .entity_window import MARKERS, window
from .features import Batch, FeatureCache
from .identity import sources
from .pretrained import tokenizer_identity
from .ragged import Rows

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1024
"""Texts tokenised at once: what an interruption loses."""
OVERLAP = 0.25
"""The share of a window that the next one reads again."""


def tokenise(tokenizer: Any, texts: Sequence[str], features: FeatureCache | None = None) -> Rows:
    """Return the ids of whole `texts`, uncut and without the tokenizer's own marks around them.

    Parameters
    ----------
    features
        The cache that ids are kept in, by text and tokenizer, and charged from; None makes them anew.
    """

    def compute(missing: Sequence[str]) -> Generator[Batch, None, None]:
        for first in range(0, len(missing), CHUNK):
            start = time.perf_counter()
            chunk = readable(missing[first : first + CHUNK])
            found = tokenizer(chunk, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
            ids = [np.asarray(row, np.int32) for row in found]
            yield range(first, first + len(ids)), ids, time.perf_counter() - start

    settings = {"feature": "token-ids", "code": sources("tokens"), **tokenizer_identity(tokenizer)}
    return (FeatureCache() if features is None else features).rows(settings, texts, compute)


def readable(texts: Sequence[str]) -> list[str]:
    """Return `texts` with ``?`` for lone surrogates, which are no text to a tokenizer written in Rust."""
    return [text.encode("utf-8", "replace").decode() for text in texts]


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

    def rows(self, texts: Rows, leads: Rows | None = None) -> tuple[Rows, np.ndarray]:
        """Return the rows of `texts` and (rows,) int64: the text that each one is of.

        Parameters
        ----------
        leads
            Ids that every row of a text begins with; the text itself has one token of its own at least.
        """
        found: list[np.ndarray] = []
        owners: list[int] = []
        start, end = np.asarray(self.start, np.int32), np.asarray(self.end, np.int32)
        for number, ids in enumerate(texts):
            lead = end[:0] if leads is None else leads[number][: max(0, self.max_length - len(start) - len(end) - 1)]
            before = np.concatenate([start, lead])
            room = max(1, self.max_length - len(before) - len(end))
            pieces = [ids] if len(ids) <= room else TRUNCATIONS[self.truncation](ids, room, self.markers)
            found += [np.concatenate([before, piece, end]) for piece in pieces]
            owners += [number] * len(pieces)
        return Rows.of(found), np.asarray(owners, np.int64)


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
    return [window(ids, room, markers)]


TRUNCATIONS: dict[str, Callable[[np.ndarray, int, tuple[int, ...]], list[np.ndarray]]] = {
    "head": _head,
    "head-tail": _head_tail,
    "windows": _windows,
    "entities": _entities,
}


def padded(tokens: Rows, rows: np.ndarray, pad: int) -> dict[str, Tensor]:
    """Return ``input_ids`` (rows, tokens) int64 and, where any is padding, ``attention_mask`` (rows, tokens) bool.

    No mask lets attention take its faster way.
    """
    import torch

    lengths = tokens.lengths[rows]
    found = {"input_ids": torch.from_numpy(tokens.padded(rows, pad=pad).astype(np.int64))}
    if lengths.min() == lengths.max():
        return found
    return found | {"attention_mask": torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])}
