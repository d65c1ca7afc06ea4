"""What is done to the words of a text before they are counted: NLTK's and spaCy's ways, once a text and machine."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ..datasets.support.errors import UnavailableError, unknown_name
from ..datasets.support.texts import Texts, columns
from .cleaning import clean
from .corpora import identities, punkt, stopwords, wordnet
from .features import FeatureCache, objects
from .identity import installed, sources
from .pairs import unmarked
from .processes import spread
from .vectorizers import MARKED

Words = Callable[[Sequence[str]], Iterable[list[str]]]
"""Texts -> the words that are left of each."""

SPACY_MODEL = "en_core_web_sm"
_LIBRARIES = ("nltk", "scikit-learn", "spacy", "spacy-lookups-data", SPACY_MODEL)
_JOB = 128  # texts: some tenths of a second, and a few jobs for each process on all but small corpora


@cache
def _nltk() -> Words:
    from nltk.stem import WordNetLemmatizer
    from nltk.tokenize import NLTKWordTokenizer

    wordnet()
    return _words(punkt(), NLTKWordTokenizer(), stopwords(), WordNetLemmatizer().lemmatize)


@cache
def _nltk_offline() -> Words:
    try:
        from nltk.stem.snowball import SnowballStemmer
        from nltk.tokenize import PunktSentenceTokenizer, TreebankWordTokenizer
    except ModuleNotFoundError as error:
        raise UnavailableError("NLTK is not installed: pip install 'zoobench[text]'") from error
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    # The tokenizer parts a full stop from its word at the end of its text alone: it is given sentences.
    return _words(
        PunktSentenceTokenizer(), TreebankWordTokenizer(), ENGLISH_STOP_WORDS, SnowballStemmer("english").stem
    )


def _words(sentences: Any, tokenizer: Any, stop: frozenset[str], reduce: Callable[[str], str]) -> Words:
    """Return the way through NLTK: lower case, sentences, tokens, no stop words, each token reduced once."""
    reduced = cache(reduce)

    def words(texts: Sequence[str]) -> Iterable[list[str]]:
        for text in texts:
            tokens = (token for line in sentences.tokenize(text.lower()) for token in tokenizer.tokenize(line))
            yield [reduced(token) for token in tokens if token not in stop]

    return words


@cache
def _spacy() -> Words:
    spacy = _import_spacy()
    try:
        # The lemmatizer wants the tagger and its rules, nothing else.
        return _lemmas(spacy.load(SPACY_MODEL, exclude=["parser", "ner"]))
    except OSError as error:
        raise UnavailableError(
            f"spaCy's model {SPACY_MODEL} is not installed: python -m spacy download {SPACY_MODEL}; "
            "without network: --set preprocessing=spacy-lookup"
        ) from error


@cache
def _spacy_lookup() -> Words:
    language = _import_spacy().blank("en")
    language.add_pipe("lemmatizer", config={"mode": "lookup"})
    try:
        language.initialize()
    except ValueError as error:
        raise UnavailableError("spaCy's look-up tables are not installed: pip install 'zoobench[text]'") from error
    lemmas = _lemmas(language)
    # The tables hold words in lower case: without this the first word of a sentence would stay as it is.
    return lambda texts: lemmas([text.lower() for text in texts])


def _import_spacy() -> Any:
    try:
        import spacy
    except ModuleNotFoundError as error:
        raise UnavailableError("spaCy is not installed: pip install 'zoobench[text]'") from error
    return spacy


def _lemmas(language: Any) -> Words:
    """Return the way through spaCy: lemmas in lower case, without stop words, punctuation and spaces."""
    language.max_length = 2**31  # the limit guards the parser's memory, and there is no parser

    def words(texts: Sequence[str]) -> Iterable[list[str]]:
        for document in language.pipe(texts):
            kept = (token for token in document if not (token.is_stop or token.is_punct or token.is_space))
            yield [token.lemma_.lower() for token in kept]

    return words


PREPROCESSINGS: Mapping[str, Callable[[], Words] | None] = MappingProxyType(
    {"plain": None, "nltk": _nltk, "nltk-offline": _nltk_offline, "spacy": _spacy, "spacy-lookup": _spacy_lookup}
)
"""What `Preprocessor` knows, by name: how to load it, None where nothing is done.

nltk
    Lower case, Punkt and NLTK's word tokenizer, NLTK's stop words, WordNetLemmatizer (as nouns, its default).
nltk-offline
    Lower case, TreebankWordTokenizer on the sentences of a Punkt that was trained on nothing, scikit-learn's stop
    words, English Snowball stemmer: needs no corpus.
spacy
    Lemmas of en_core_web_sm without stop words, punctuation and spaces.
spacy-lookup
    The same of the text in lower case by spaCy's look-up lemmatizer and spacy-lookups-data: no tagger, no model.
"""


class Preprocessor(TransformerMixin, BaseEstimator):
    """Texts to texts: cleaned, then the words that a preprocessing leaves, with one space between them.

    Parameters
    ----------
    cleaning
        One of `cleaning.CLEANINGS`.
    preprocessing
        One of `PREPROCESSINGS`.
    processes
        How many processes work side by side.
    features
        The cache that texts are kept in and charged from.
    """

    _known: dict[str, Any] | None = None
    """Its settings: hashing corpora takes longer than a single text."""

    def __init__(
        self,
        cleaning: str = "none",
        preprocessing: str = "plain",
        processes: int = 1,
        features: FeatureCache | None = None,
    ) -> None:
        if preprocessing not in PREPROCESSINGS:
            raise unknown_name("preprocessing", preprocessing, PREPROCESSINGS)
        self.cleaning, self.preprocessing = cleaning, preprocessing
        self.processes, self.features = processes, features

    def __getstate__(self) -> dict[str, Any]:
        # The cache belongs to the machine, not to the artefact.
        return {**super().__getstate__(), "features": None, "_known": None}  # pyright: ignore[reportGeneralTypeIssues]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> Preprocessor:
        """Do nothing: there is nothing to learn."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return (n,) texts for (n,) texts, with the columns of `X`.

        Preprocessing other than "plain" takes markers of entities from the words; the column `MARKED` keeps them.
        """
        cleaned = objects(clean(self.cleaning, list(X)))
        if PREPROCESSINGS[self.preprocessing] is None:
            return Texts(cleaned, columns(X))
        cache = self.features if self.features is not None else FeatureCache()
        if self._known is None:
            self._known = self._settings()
        settings = self._known
        cache.charge(settings, self._loading)
        words = cache.texts(settings, objects([unmarked(text) for text in cleaned]), self._compute)
        return Texts(words, {**columns(X), MARKED: cleaned})

    def _settings(self) -> dict[str, Any]:
        return {
            "feature": "words",
            "preprocessing": self.preprocessing,
            "libraries": {name: installed(name) for name in _LIBRARIES},
            "corpora": identities() if self.preprocessing == "nltk" else {},
            "code": sources("preprocessing"),
        }

    def _loading(self) -> float:
        """Load what the words are prepared with; return its seconds, less those of importing its library."""
        with contextlib.suppress(ModuleNotFoundError):  # what is not installed is said in loading
            importlib.import_module("spacy" if self.preprocessing.startswith("spacy") else "nltk")
        start = time.perf_counter()
        self._words()
        return time.perf_counter() - start

    def _words(self) -> Words:
        load = PREPROCESSINGS[self.preprocessing]
        assert load is not None  # noqa: S101 - `transform` asks only for what has work to do
        return load()

    def _compute(self, texts: list[str]) -> Generator[tuple[range, list[str], float], None, None]:
        """Yield batches for `FeatureCache.texts`; the seconds are those on the clock, whatever the processes."""
        words = self._words()  # before the processes fork, so that they share it
        jobs = [range(first, min(first + _JOB, len(texts))) for first in range(0, len(texts), _JOB)]
        before = time.perf_counter()
        for place, lines in spread(jobs, lambda job: _lines(words, texts[job.start : job.stop]), self.processes):
            now = time.perf_counter()
            yield jobs[place], lines, now - before
            before = now


def _lines(words: Words, texts: list[str]) -> list[str]:
    return [" ".join(found) for found in words(texts)]
