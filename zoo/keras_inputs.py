"""What Keras networks read: vectors, bags of words or rows of word numbers, behind one interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..datasets.support.errors import UserError
from ..datasets.support.files import read_json, write_json
from ..datasets.support.texts import columns
from . import adapter
from .cleaning import clean
from .core import Config
from .entity_window import PAIR_COLUMNS, window
from .ragged import Rows
from .sequences import UNKNOWN, Vocabulary, bigram_numbers, rounded, tokenise

if TYPE_CHECKING:
    from .encoders import FrozenEncoder

VOCABULARY, ENCODER = "vocabulary.json", "encoder.json"


class Batches(Protocol):
    """Rows ready for a network, of which any choice can be had as one array."""

    @property
    def lengths(self) -> np.ndarray:
        """(n,) tokens of each row; rows of like length are batched together."""
        ...

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return the (batch, …) array of the rows `indices`."""
        ...


class Inputs(Protocol):
    """Turns raw texts into `Batches`, by what it learnt of the training fold."""

    @property
    def width(self) -> int:
        """What the network is built for: dimensions of a vector, or word numbers; known once fitted."""
        ...

    @property
    def n_parameters(self) -> int:
        """Weights used outside of the network."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the reading: sentences for the record."""
        ...

    def fit(self, X: Any) -> Batches:
        """Learn from the (n,) texts of the training fold and return them."""
        ...

    def transform(self, X: Any) -> Batches:
        """Return (n,) texts as they were learnt to be read."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


@dataclass(frozen=True)
class Matrix:
    """(n, d) features, dense or sparse; a batch is dense float32."""

    values: Any

    @property
    def lengths(self) -> np.ndarray:
        """(n,) zeros: all rows are alike."""
        return np.zeros(self.values.shape[0], np.int64)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return (batch, d) float32."""
        chosen = self.values[indices]
        return np.asarray(chosen if isinstance(chosen, np.ndarray) else chosen.toarray(), dtype=np.float32)


class Embedded:
    """The vectors of a frozen encoder."""

    def __init__(self, encoder: FrozenEncoder) -> None:
        self._encoder = encoder
        self.width = 0

    @property
    def n_parameters(self) -> int:
        """The encoder's weights."""
        return self._encoder.n_parameters

    @property
    def notes(self) -> tuple[str, ...]:
        """The encoder's own."""
        return self._encoder.notes_

    def fit(self, X: Any) -> Matrix:
        """Return the vectors of the training fold."""
        found = self.transform(X)
        self.width = found.values.shape[1]
        return found

    def transform(self, X: Any) -> Matrix:
        """Return the vectors of (n,) texts."""
        return Matrix(self._encoder.transform(X))

    def save(self, folder: Path) -> None:
        """Write the number format that "auto" came to: others give other vectors."""
        write_json(folder / ENCODER, {"number_format": self._encoder.format_})

    def load(self, folder: Path) -> None:
        """Read the number format; the weights are frozen."""
        self._encoder.format_ = str(read_json(folder / ENCODER)["number_format"])


class Bags:
    """The sparse features of a scikit-learn vectoriser, learnt on the training fold."""

    n_parameters = 0
    notes: tuple[str, ...] = ()

    def __init__(self, vectorizer: Any) -> None:
        self._vectorizer = vectorizer
        self.width = 0

    def fit(self, X: Any) -> Matrix:
        """Learn the terms of the training fold and return its features."""
        found = Matrix(self._vectorizer.fit_transform(X).tocsr())
        self.width = found.values.shape[1]
        return found

    def transform(self, X: Any) -> Matrix:
        """Return the features of (n,) texts."""
        return Matrix(self._vectorizer.transform(X).tocsr())

    def save(self, folder: Path) -> None:
        """Write the vectoriser by skops."""
        adapter.save(self._vectorizer, folder)

    def load(self, folder: Path) -> None:
        """Read the vectoriser; nothing in it runs code."""
        self._vectorizer = adapter.load(self._vectorizer, folder)


@dataclass(frozen=True)
class Padded:
    """Rows of word numbers, padded in front: a batch to its longest row, or every one to `length` where not 0."""

    rows: Rows
    length: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """(n,) tokens of the rows with their padding."""
        return np.full(len(self.rows), self.length) if self.length else rounded(self.rows.lengths)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return (batch, tokens) int32."""
        length = self.length or int(rounded(self.rows.lengths[indices].max()))
        return self.rows.padded(indices, length, first=True)


class Words:
    """Rows of word numbers in a vocabulary of the training fold.

    Parameters
    ----------
    config
        The settings of `keras_text.SEQUENCE`.
    bigrams
        Hash buckets for pairs of neighbouring words, which follow the words of a row; 0 for none.
    """

    n_parameters = 0
    notes: tuple[str, ...] = ()

    def __init__(self, config: Config, bigrams: int = 0) -> None:
        self._config, self._bigrams = config, bigrams
        self._longest = str(config["padding"]) == "longest"
        self._vocabulary, self._length = Vocabulary(()), 0
        self._types: list[str] = []

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the training fold."""
        return self._vocabulary

    @property
    def width(self) -> int:
        """How many numbers a token may have."""
        return len(self._vocabulary) + self._bigrams

    def fit(self, X: Any) -> Padded:
        """Learn the words of the training fold and return it in their numbers."""
        size, least = int(self._config["vocabulary"]), int(self._config["min_count"])
        self._types = [name for name in PAIR_COLUMNS if self._config["pair_types"] and name in columns(X)]
        self._vocabulary, rows = Vocabulary.learn(self._documents(X), size, least)
        if not self._vocabulary.words:
            raise UserError(f"no word stands min_count={least} times in the {len(X)} training texts: lower min_count")
        rows = self._trimmed(rows, X)
        self._length = int(rows.lengths.max()) if self._longest else 0
        return Padded(rows, self._length)

    def transform(self, X: Any) -> Padded:
        """Return (n,) texts in the numbers of the training fold's words."""
        return Padded(self._trimmed(self._vocabulary.encode(self._documents(X)), X), self._length)

    def save(self, folder: Path) -> None:
        """Write the length that every row is padded to (0: its batch's), the columns of types, and the words."""
        kept = {"length": self._length, "types": self._types, "words": self._vocabulary.words}
        write_json(folder / VOCABULARY, kept)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        kept = read_json(folder / VOCABULARY)
        self._vocabulary, self._length, self._types = Vocabulary(kept["words"]), int(kept["length"]), kept["types"]

    def _documents(self, X: Any) -> Iterator[list[str]]:
        types = self._known_types(X)
        for index, text in enumerate(clean(str(self._config["cleaning"]), list(X))):
            # Last, where a recurrent network that reads forwards remembers them best.
            yield [*tokenise(text), *(f"{name}={values[index]}" for name, values in types)]

    def _known_types(self, X: Any) -> list[tuple[str, np.ndarray]]:
        """Return the columns of types that the training texts had; none where one of them is missing."""
        found = columns(X)
        return [(name, found[name]) for name in self._types] if set(self._types) <= set(found) else []

    def _trimmed(self, rows: Rows, X: Any) -> Rows:
        length, markers, types = int(self._config["max_length"]), self._vocabulary.markers, len(self._known_types(X))
        unknown, first = np.array([UNKNOWN], np.int32), len(self._vocabulary)

        def trimmed() -> Iterator[np.ndarray]:
            for row in rows:
                text, tail = row[: len(row) - types], row[len(row) - types :]
                short = np.concatenate([window(text, max(0, length - types), markers), tail]) if length else row
                short = short if len(short) else unknown
                yield np.concatenate([short, bigram_numbers(short, first, self._bigrams)]) if self._bigrams else short

        return Rows.of(trimmed())
