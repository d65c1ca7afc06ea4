"""Counts of terms that several fits share: trials of a study that read the same texts the same way count them once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer

from ..datasets.support.files import atomic_path, lock, sha256_json, write_text
from .feature_store import digests

KEY = "kept_terms_key_"


@contextlib.contextmanager
def kept_terms(folder: Path, scope: str) -> Iterator[None]:
    """Within the block, scikit-learn's vectorisers find in `folder` what one with their settings counted in the texts.

    It works below all of them: `CountVectorizer` counts, and what weighs counts (`TfidfVectorizer`, the zoo's own)
    stands on it. What they answer is the same to the bit. Processes that want the same counts wait for the first.
    Vectorisers with functions among their settings count for themselves.

    Parameters
    ----------
    scope
        Names the code of the model: two of the same class name may cut words differently.
    """
    fit_transform, transform = CountVectorizer.fit_transform, CountVectorizer.transform

    def kept_fit_transform(self: Any, raw_documents: Iterable[Any], y: Any = None) -> Any:
        documents = list(raw_documents)
        settings = _settings(self)
        if settings is None:
            return fit_transform(self, documents, y)
        key = sha256_json([scope, settings, _digest(documents)])
        setattr(self, KEY, key)
        terms = folder / key / "terms.json"

        def count() -> Any:
            matrix = fit_transform(self, documents, y)
            ordered = sorted(self.vocabulary_, key=self.vocabulary_.__getitem__)
            write_text(terms, json.dumps(ordered, ensure_ascii=True))
            return matrix

        matrix = _kept(folder / key / "fit.npz", count)
        if not hasattr(self, "vocabulary_"):
            self._validate_vocabulary()
            self.vocabulary_ = {term: column for column, term in enumerate(json.loads(terms.read_bytes()))}
        return matrix

    def kept_transform(self: Any, raw_documents: Iterable[Any]) -> Any:
        documents, key = list(raw_documents), getattr(self, KEY, None)
        if key is None:
            return transform(self, documents)
        return _kept(folder / key / f"{_digest(documents)}.npz", lambda: transform(self, documents))

    CountVectorizer.fit_transform, CountVectorizer.transform = kept_fit_transform, kept_transform
    try:
        yield
    finally:
        CountVectorizer.fit_transform, CountVectorizer.transform = fit_transform, transform


def _settings(vectorizer: Any) -> dict[str, Any] | None:
    """Return in JSON values what decides how a vectoriser counts; None where a function or a vocabulary does."""
    found = vectorizer.get_params(deep=False)
    if any(callable(value) for name, value in found.items() if name != "dtype") or found["vocabulary"] is not None:
        return None
    plain = {name: value if isinstance(value, (str, int, float, bool)) else str(value) for name, value in found.items()}
    return {**plain, "class": f"{type(vectorizer).__module__}.{type(vectorizer).__qualname__}"}


def _digest(documents: list[Any]) -> str:
    """Name texts, or tuples of a text and what goes with it, in their order."""
    return sha256_json([part.hex() for part in digests(map(repr, documents)).tolist()])


def _kept(path: Path, count: Callable[[], Any]) -> Any:
    """Return the sparse matrix at `path`, counted and stored if it is not there."""
    with lock(path.with_suffix(".lock")):
        if path.exists():
            return sp.load_npz(path)
        matrix = count()
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            sp.save_npz(stream, matrix, compressed=False)
        return matrix
