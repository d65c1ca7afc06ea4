"""Shared blocks and settings of the text models; importing this imports no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core import Config, Scalar

if TYPE_CHECKING:
    from .vectorizers import Tfidf

ENCODER: dict[str, Scalar] = {"encoder": "packaged-minilm", "pooling": "mean", "max_length": 256}
"""Settings of `encoders.frozen_encoder`: which encoder, how its tokens are pooled, how many of them are read."""

TFIDF: dict[str, Scalar] = {"ngrams": 2, "min_df": 2, "sublinear_tf": True}
"""Defaults of `tfidf`: words and pairs of words that at least two training texts hold, log-scaled counts."""


def tfidf(config: Config) -> Tfidf:
    """Return a TF-IDF vectoriser of word 1- to ``ngrams``-grams that keeps one-letter words (T cell, S1 wave)."""
    from .vectorizers import Tfidf

    return Tfidf(
        ngram_range=(1, int(config["ngrams"])),
        min_df=int(config["min_df"]),
        sublinear_tf=bool(config["sublinear_tf"]),
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - a pattern, not a secret
    )
