"""Texts as rows of word numbers: tokens, a vocabulary, lengths that are padded to, pairs of words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from .entity_window import ABSENT, MARKERS
from .ragged import Rows

PAD, UNKNOWN = 0, 1
"""Word numbers 0 and 1: padding, and a word that the training fold lacks (also all there is of an empty text)."""
ROUNDING = 16
"""Batches are padded to whole multiples of so many tokens, so that few shapes are ever traced."""
_TOKEN = re.compile(r"\[/?e[12]\]|\w+")


def tokenise(text: str) -> list[str]:
    """Return the lower-case words of a text; entity markers are words of their own, punctuation is none.

    >>> tokenise("The [E1] IL-2 [/E1] receptor.")
    ['the', '[e1]', 'il', '2', '[/e1]', 'receptor']
    """
    return _TOKEN.findall(text.lower())


class Vocabulary:
    """Which word has which number; numbered by frequency in the training fold, most frequent first.

    Parameters
    ----------
    words
        The words of numbers 2, 3, …

    Attributes
    ----------
    markers
        The numbers of `entity_window.MARKERS` in their order, `ABSENT` for one that is no known word.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._number = {word: number for number, word in enumerate(self.words, start=UNKNOWN + 1)}
        self.markers = np.array([self._number.get(word.lower(), ABSENT) for word in MARKERS], np.int32)

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


def rounded(lengths: np.ndarray) -> np.ndarray:
    """Return (n,) `lengths` rounded up to whole multiples of `ROUNDING`."""
    return -(-lengths // ROUNDING) * ROUNDING


def bigram_numbers(row: np.ndarray, first: int, buckets: int) -> np.ndarray:
    """Return the hashed numbers, ``first`` to ``first + buckets - 1``, of the (length - 1,) pairs of neighbours."""
    left, right = row[:-1].astype(np.uint64), row[1:].astype(np.uint64)
    # Knuth's multiplicative hashing; the high bits are the mixed ones.
    mixed = (left * np.uint64(0x9E3779B97F4A7C15) + right) * np.uint64(0xC2B2AE3D27D4EB4F)
    return (first + (mixed >> np.uint64(32)) % np.uint64(buckets)).astype(np.int32)
