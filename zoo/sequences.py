"""Texts as rows of word numbers: tokens, a vocabulary, windows, padding and batches of like length."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

PAD, UNKNOWN = 0, 1
"""Word numbers 0 and 1: padding, and a word that the training fold lacks (also all there is of an empty text)."""
ROUNDING = 16
"""Batches are padded to whole multiples of so many tokens, so that few shapes are ever traced."""
MARKERS = ("[e1]", "[/e1]", "[e2]", "[/e2]")
"""The entity markers of pair tasks as words."""
_TOKEN = re.compile(r"\[/?e[12]\]|\w+")


def tokenise(text: str) -> list[str]:
    """Return the lower-case words of a text; entity markers are words of their own, punctuation is none.

    >>> tokenise("The [E1] IL-2 [/E1] receptor.")
    ['the', '[e1]', 'il', '2', '[/e1]', 'receptor']
    """
    return _TOKEN.findall(text.lower())


@dataclass(frozen=True)
class Rows:
    """Rows of integers of differing length, end to end.

    Attributes
    ----------
    values
        (total,) int32.
    offsets
        (n + 1,) int64: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[np.ndarray]) -> Rows:
        """Lay (length,) arrays end to end."""
        kept = list(rows)
        lengths = np.array([len(row) for row in kept], np.int64)
        values = np.concatenate(kept).astype(np.int32, copy=False) if kept else np.zeros(0, np.int32)
        return cls(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """(n,) lengths of the rows."""
        return np.diff(self.offsets)

    def padded(self, indices: np.ndarray, length: int) -> np.ndarray:
        """Return (batch, length) int32 of the rows `indices`, zeros first; of a longer row the end is kept."""
        block = np.full((len(indices), length), PAD, np.int32)
        for place, index in enumerate(indices):
            row = self[index][-length:]
            block[place, length - len(row) :] = row
        return block


class Vocabulary:
    """Which word has which number; numbered by frequency in the training fold, most frequent first.

    Parameters
    ----------
    words
        The words of numbers 2, 3, …

    Attributes
    ----------
    markers
        The numbers of the entity markers among the words.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._number = {word: number for number, word in enumerate(self.words, start=UNKNOWN + 1)}
        self.markers = np.array([self._number[word] for word in MARKERS if word in self._number], np.int32)

    def __len__(self) -> int:
        """How many numbers there are, padding and unknown included."""
        return len(self.words) + 2

    @classmethod
    def learn(cls, documents: Iterable[Sequence[str]], size: int, min_count: int) -> tuple[Vocabulary, Rows]:
        """Return the vocabulary of tokenised documents, and the documents in its numbers.

        Parameters
        ----------
        size
            How many words are kept at most; 0 keeps all.
        min_count
            How often a word stands in the documents at least.
        """
        # One pass, in which a word's number is the order of its first appearance: 15 million tokens of mention
        # pairs are never held as strings.
        seen: defaultdict[str, int] = defaultdict()
        seen.default_factory = seen.__len__
        rows = Rows.of(np.fromiter((seen[word] for word in words), np.int32) for words in documents)
        counts = np.bincount(rows.values, minlength=len(seen))
        order = np.argsort(-counts, kind="stable")
        kept = order[counts[order] >= min_count][: size or None]
        number = np.full(len(seen), UNKNOWN, np.int32)
        number[kept] = np.arange(len(kept)) + UNKNOWN + 1
        words = list(seen)
        return cls([words[index] for index in kept]), Rows(number[rows.values], rows.offsets)

    def encode(self, documents: Iterable[Sequence[str]]) -> Rows:
        """Return tokenised documents in numbers."""
        find = self._number.get
        return Rows.of(np.fromiter((find(word, UNKNOWN) for word in words), np.int32) for words in documents)


def window(row: np.ndarray, length: int, markers: np.ndarray, kept: int = 0) -> np.ndarray:
    """Return `length` tokens of a row, in order: its last `kept`, then those nearest to one of the `markers`.

    A row without markers keeps its head.
    """
    if len(row) <= length:
        return row
    places = np.flatnonzero(np.isin(row, markers))
    here = np.arange(len(row))
    if len(places):
        after = np.searchsorted(places, here)
        before, behind = places[np.maximum(after - 1, 0)], places[np.minimum(after, len(places) - 1)]
        distance = np.minimum(np.abs(here - before), np.abs(here - behind))
    else:
        distance = here
    distance[len(row) - kept :] = -1
    return row[np.sort(np.argsort(distance, kind="stable")[:length])]


def batches(lengths: np.ndarray, size: int, rng: np.random.Generator | None, *, pool: int = 50) -> list[np.ndarray]:
    """Return the indices of (n,) rows in batches of at most `size` rows.

    Parameters
    ----------
    rng
        Shuffles the rows and the batches; None sorts all rows by length, for prediction.
    pool
        So many batches of shuffled rows are sorted by length before they are cut: rows of like length share a
        batch. 0 sorts none.
    """
    if rng is None:
        return _cut(np.argsort(lengths, kind="stable"), size)
    order = rng.permutation(len(lengths))
    if not pool:
        return _cut(order, size)
    # Lengths that are padded alike count as equal: which rows share a batch differs from epoch to epoch.
    steps = -(-lengths // ROUNDING)
    pools = [part[np.argsort(steps[part], kind="stable")] for part in _cut(order, size * pool)]
    found = [batch for part in pools for batch in _cut(part, size)]
    return [found[index] for index in rng.permutation(len(found))]


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[first : first + size] for first in range(0, len(order), size)]


def rounded(length: int) -> int:
    """Return `length` rounded up to a whole multiple of `ROUNDING`."""
    return -(-int(length) // ROUNDING) * ROUNDING


def bigram_numbers(row: np.ndarray, first: int, buckets: int) -> np.ndarray:
    """Return the hashed numbers, ``first`` to ``first + buckets - 1``, of the (length - 1,) pairs of neighbours."""
    left, right = row[:-1].astype(np.uint64), row[1:].astype(np.uint64)
    # Knuth's multiplicative hashing; the high bits are the mixed ones.
    mixed = (left * np.uint64(0x9E3779B97F4A7C15) + right) * np.uint64(0xC2B2AE3D27D4EB4F)
    return (first + (mixed >> np.uint64(32)) % np.uint64(buckets)).astype(np.int32)
