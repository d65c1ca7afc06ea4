"""Easy data augmentation (Wei and Zou 2019, https://arxiv.org/abs/1901.11196) as system 1 made it safe for medicine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from ..datasets.support.errors import UserError, unknown_name
from .eda_words import PROTECTED, SYNONYMS, UNITS

# What is written without a space is one token: 5mg/kg, IL-6, 1.5, p53-dependent; the tokens of a text.
_TOKEN = re.compile(r"\[/?E[12]\]|\w+(?:[-'\u2019./,+:%^·=<>]+\w+)*")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_DIGIT = re.compile(r"\d")
_LONGEST_ABBREVIATION = 5


@dataclass(frozen=True)
class Eda:
    """Texts as one epoch draws them: a share is augmented, each of it by one of three operations, equally likely.

    Synonym replacement puts synonyms in the place of up to `max_replacements` words, with their capitalisation;
    random deletion drops each word with probability `deletion`; identity changes nothing. Neither touches protected
    words, numbers, units, abbreviations and symbols (BP, mRNA, T), the only word between two numbers ("5 to 10"),
    entity markers ([E1]) and what stands between them. A text never loses its last word.

    Attributes
    ----------
    synonyms
        "medical": the project's own groups (`eda_words.SYNONYMS`). "wordnet": single words that share the
        first sense in WordNet, of words with one part of speech there.
    share
        Probability that a text is drawn for augmentation; 0.3 in system 1.
    max_replacements, deletion
        2 words, and 0.08 a word, in system 1.

    Raises
    ------
    UserError
        If a number is out of range or no list of synonyms has that name.
    UnavailableError
        If `synonyms` is "wordnet" and WordNet cannot be found.
    """

    synonyms: str = "medical"
    share: float = 0.3
    max_replacements: int = 2
    deletion: float = 0.08

    def __post_init__(self) -> None:
        if self.synonyms not in _SYNONYMS:
            raise unknown_name("synonyms", self.synonyms, _SYNONYMS)
        if not (0 <= self.share <= 1 and 0 <= self.deletion <= 1 and self.max_replacements >= 0):
            raise UserError(
                f"EDA: share {self.share} and deletion {self.deletion} must be probabilities, "
                f"max_replacements {self.max_replacements} not negative"
            )
        _SYNONYMS[self.synonyms]()  # what is missing is said before the first epoch

    def draw(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Return (n,) `texts` as drawn once; a text that is not changed is the same object."""
        drawn = rng.random(len(texts)) < self.share
        return [self._augment(text, rng) if chosen else text for text, chosen in zip(texts, drawn, strict=True)]

    def _augment(self, text: str, rng: np.random.Generator) -> str:
        operation = rng.integers(3)
        if operation == 0:
            return self._replace(text, rng)
        return self._delete(text, rng) if operation == 1 else text

    def _replace(self, text: str, rng: np.random.Generator) -> str:
        lookup = _SYNONYMS[self.synonyms]()
        found = [(word, options) for word in eligible(text) if (options := lookup(word[0].lower()))]
        changes: dict[tuple[int, int], str] = {}
        for index in rng.permutation(len(found))[: self.max_replacements]:
            word, options = found[index]
            changes[word.span()] = _cased(options[rng.integers(len(options))], word[0])
        return _spliced(text, changes)

    def _delete(self, text: str, rng: np.random.Generator) -> str:
        words = eligible(text)
        dropped = [word for word, drop in zip(words, rng.random(len(words)) < self.deletion, strict=True) if drop]
        if len(dropped) == len(_TOKEN.findall(text)):
            return text
        return _spliced(text, dict.fromkeys((_with_space(text, *word.span()) for word in dropped), ""))


def eligible(text: str) -> list[re.Match[str]]:
    """Return the words of `text` that augmentation may change, in order: group 0 is the word."""
    tokens = list(_TOKEN.finditer(text))
    between = _between_numbers([token[0] for token in tokens])
    words, marked = [], 0
    for token, held in zip(tokens, between, strict=True):
        if token[0].startswith("["):
            marked += -1 if token[0].startswith("[/") else 1
        elif marked <= 0 and not held and _may_change(token[0]):
            words.append(token)
    return words


def _between_numbers(tokens: Sequence[str]) -> list[bool]:
    """Return which tokens stand alone between two numbers, that would run together without them."""
    numbers = [bool(_DIGIT.search(token)) for token in ("", *tokens, "")]
    return [before and after for before, after in zip(numbers[:-2], numbers[2:], strict=True)]


@lru_cache(maxsize=1 << 16)
def _may_change(word: str) -> bool:
    if _WORD.fullmatch(word) is None:
        return False
    if word != "a" and (len(word) == 1 or (word.isupper() and len(word) <= _LONGEST_ABBREVIATION)):
        return False
    parts = word.split("-")
    if not all(part.islower() or part.istitle() or part.isupper() for part in parts):  # mRNA, mmHg
        return False
    return not any(_protected(part.lower()) for part in (word, *parts))


def _protected(word: str) -> bool:
    return any(form in PROTECTED or form in UNITS for form in (word, word.removesuffix("s")))


def _cased(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word[0].upper() + word[1:] if like[0].isupper() else word


def _with_space(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span with the white space behind it, where there is white space, or nothing, before it as well."""
    if start == 0 or text[start - 1].isspace():
        while end < len(text) and text[end].isspace():
            end += 1
    return start, end


def _spliced(text: str, changes: Mapping[tuple[int, int], str]) -> str:
    """Return `text` with the spans of `changes` replaced, or `text` itself where there are none."""
    if not changes:
        return text
    spans = sorted(changes)
    edges = [(0, 0), *spans, (len(text), len(text))]
    kept = [text[before[1] : after[0]] for before, after in pairwise(edges)]
    return "".join(piece for pair in zip(kept, [*(changes[span] for span in spans), ""], strict=True) for piece in pair)


Lookup = Callable[[str], tuple[str, ...]]
"""From a word in lower case to its synonyms, sorted; () where it has none."""


@cache
def _medical() -> Lookup:
    table = {word: tuple(other for other in group if other != word) for group in SYNONYMS for word in group}
    return lambda word: table.get(word, ())


@cache
def _wordnet() -> Lookup:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    from .corpora import wordnet

    reader: Any = wordnet()

    @cache
    def lookup(word: str) -> tuple[str, ...]:
        synsets = reader.synsets(word)
        # One part of speech: which one a word of several has here, no tagger says. As a lemma: "diseases" is found
        # under "disease", whose synonyms are singular.
        if not synsets or word in ENGLISH_STOP_WORDS or len({synset.pos().replace("s", "a") for synset in synsets}) > 1:
            return ()
        names = {name for name in synsets[0].lemma_names() if name.islower() and _may_change(name)}
        if word not in names:
            return ()
        return tuple(sorted(name for name in names - {word} if reader.synsets(name)[0] == synsets[0]))

    return lookup


_SYNONYMS: Mapping[str, Callable[[], Lookup]] = MappingProxyType({"medical": _medical, "wordnet": _wordnet})
