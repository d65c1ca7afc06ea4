"""Two entities that a text marks with ``[E1] … [/E1]`` and ``[E2] … [/E2]``, as terms for a bag of words.

A bag of a whole text hardly tells one of its pairs from another. These terms do, each in a group of its own: the
entities' types and words, the words near each, those between the nearest mentions, and those of the sentences that
hold both (the lexical features of Zhou et al. 2005, Exploring Various Knowledge in Relation Extraction, ACL).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

_TOKEN = re.compile(r"\[/?E[12]\]|\w+|[^\w\s]")
_MARKER = re.compile(r"\[(/?)E([12])\]")
_NEAR, _BETWEEN, _AFFIX = 4, 30, 4
Span = tuple[int, int]


def unmarked(text: str) -> str:
    """Return `text` without its markers."""
    return _MARKER.sub(" ", text)


def pair_terms(text: str, types: tuple[str, str] = ("", "")) -> list[str]:
    """Return the terms of the pair that `text` marks, ``group|term``; none where it does not mark both entities.

    Parameters
    ----------
    types
        What the two entities are (Gene, Disease, …); empty where it is not known.
    """
    pair = _Pair.read(text)
    if not (pair.spans[0] and pair.spans[1]):
        return []
    kinds = ">".join(types)
    sentence = pair.sentences
    terms = [
        *(f"types|{term}" for term in (kinds, f"1={types[0]}", f"2={types[1]}", "~".join(sorted(types)))),
        *(f"entity|{term}" for term in pair.entities),
        *(f"near|{term}" for term in pair.near),
        *(f"between|{term}" for term in pair.between),
        *(f"layout|{term}" for term in pair.layout),
        *(f"sentence|{term}" for term in (*sentence, *_couples(sentence))),
    ]
    return terms + [f"typed|{kinds} {word}" for word in sorted({word for word in sentence if len(word) > 2})]


@dataclass(frozen=True)
class _Pair:
    """The words of a marked text.

    Attributes
    ----------
    words
        Words and punctuation in lower case.
    inside
        For each word: 0 outside of the entities, 1 in the first, 2 in the second, 3 in both.
    """

    words: list[str]
    inside: list[int]

    @classmethod
    def read(cls, text: str) -> _Pair:
        words: list[str] = []
        inside: list[int] = []
        now = [0, 0]
        for token in _TOKEN.findall(text):
            if marker := _MARKER.fullmatch(token):
                now[int(marker[2]) - 1] += -1 if marker[1] else 1
            else:
                words.append(token.lower())
                inside.append((now[0] > 0) + 2 * (now[1] > 0))
        return cls(words, inside)

    @cached_property
    def spans(self) -> tuple[list[Span], list[Span]]:
        """Where the mentions of each entity start and end, in words."""
        return _stretches(self.inside, 1), _stretches(self.inside, 2)

    @cached_property
    def nearest(self) -> tuple[Span, Span]:
        """The mention of each entity that stands nearest to one of the other."""
        firsts, seconds = self.spans
        return min(((a, b) for a in firsts for b in seconds), key=lambda pair: _gap(*pair))

    @property
    def entities(self) -> Iterator[str]:
        """The words of each entity, with their first and last letters, which tell drugs and genes apart."""
        for number, spans in enumerate(self.spans, 1):
            for word in sorted({word for start, end in spans for word in self.words[start:end]}):
                yield f"{number}={word}"
                if len(word) > _AFFIX:
                    yield f"{number}={word[:_AFFIX]}-"
                    yield f"{number}=-{word[-_AFFIX:]}"

    @property
    def near(self) -> Iterator[str]:
        """The words right before and after each mention."""
        for number, spans in enumerate(self.spans, 1):
            for start, end in spans:
                yield from (f"{number}<{word}" for word in self._outside(max(0, start - _NEAR), start))
                yield from (f"{number}>{word}" for word in self._outside(end, end + _NEAR))

    @property
    def between(self) -> Iterator[str]:
        """The words between, before and after the nearest mentions, where these are near enough."""
        first, second = self.nearest
        if _gap(first, second) > _BETWEEN:
            return
        left, right = sorted((first, second))
        order = "12" if first <= second else "21"
        words = [word for word in self.words[left[1] : right[0]] if word.isalnum()]
        yield from words
        yield from (f"{order} {word}" for word in words)
        yield from _couples(words)
        end = max(left[1], right[1])
        yield from (f"<{word}" for word in self.words[max(0, left[0] - _NEAR) : left[0]])
        yield from (f">{word}" for word in self.words[end : end + _NEAR])

    @property
    def layout(self) -> list[str]:
        """How far the nearest mentions stand apart, which comes first, and how many there are of each."""
        first, second = self.nearest
        gap = _gap(first, second)
        return [
            f"gap {min(6, max(0, gap).bit_length())}",
            f"overlap {gap < 0}",
            f"first {1 if first <= second else 2}",
            *(f"mentions {number}={min(4, len(spans))}" for number, spans in enumerate(self.spans, 1)),
            *(f"opens {number}={spans[0][0] < 15}" for number, spans in enumerate(self.spans, 1)),
            f"together {min(3, len(self._together))}",
        ]

    @cached_property
    def sentences(self) -> list[str]:
        """The words of the sentences that hold both entities, a mention as one word ``E1``, ``E2`` or ``E3``."""
        found: list[str] = []
        for sentence, word, inside in zip(self._sentence_of, self.words, self.inside, strict=True):
            if sentence in self._together and (inside or word.isalnum()):
                term = f"E{inside}" if inside else word
                if not (inside and found and found[-1] == term):
                    found.append(term)
        return found

    @cached_property
    def _sentence_of(self) -> list[int]:
        numbers, now = [], 0
        for word in self.words:
            numbers.append(now)
            now += word in {".", "?", "!"}
        return numbers

    @cached_property
    def _together(self) -> set[int]:
        one, other = ({self._sentence_of[start] for start, _ in spans} for spans in self.spans)
        return one & other

    def _outside(self, start: int, end: int) -> Iterator[str]:
        pairs = zip(self.words[start:end], self.inside[start:end], strict=True)
        return (word for word, inside in pairs if not inside)


def _stretches(inside: Sequence[int], bit: int) -> list[Span]:
    found: list[Span] = []
    start = None
    for place, held in enumerate((*inside, 0)):
        if held & bit and start is None:
            start = place
        if not held & bit and start is not None:
            found.append((start, place))
            start = None
    return found


def _gap(first: Span, second: Span) -> int:
    """Return how many words stand between two mentions; negative where they overlap."""
    return max(second[0] - first[1], first[0] - second[1])


def _couples(words: Sequence[str]) -> Iterator[str]:
    return (f"{one} {two}" for one, two in pairwise(words))
