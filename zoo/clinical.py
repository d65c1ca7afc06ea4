"""System 5's domain preprocessing: abbreviations, values, medication names, and no personal health information.

Every pattern is linear in the text: repetitions are bounded or of disjoint characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from ..datasets.support.errors import UnavailableError
from .clinical_terms import ABBREVIATIONS, MEDICATIONS, PER, SHORTHAND, SPELLED_UNITS, UNITS

if TYPE_CHECKING:
    from spacy.language import Language

NER = "en_core_web_sm"
"""The spaCy model that finds people for `remove_people`."""

_PASSES = 4


def _any(words: Iterable[str]) -> str:
    """Return a pattern for one of `words`, the longest first of those with one first letter: 3 times as quick."""
    groups = groupby(sorted(words, key=lambda word: (word[0], -len(word))), key=itemgetter(0))
    return "|".join(
        f"{re.escape(first)}(?:{'|'.join(re.escape(word[1:]) for word in group)})" for first, group in groups
    )


_TERM = re.compile(rf"(?<!\w)(?:{_any(ABBREVIATIONS)}|(?ai:{_any([*SHORTHAND, *MEDICATIONS])}))(?!\w)")

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_UNIT = rf"(?:(?ai:{_any(SPELLED_UNITS)})|{_any(UNITS)})"
_RATE = rf"(?:(?ai:{_any([*SPELLED_UNITS, *PER])})|{_any(UNITS)})"
_VALUE = re.compile(
    rf"(?<![\w.,/])(?<!\w[-\u2013])(?P<number>{_NUMBER})"
    rf"(?:(?P<between>\s?[-/\u2013]\s?|\s(?:to|over)\s)(?P<other>{_NUMBER}))?"
    rf"\s{{0,2}}(?P<unit>{_UNIT})(?P<per>(?:(?:\s?/\s?|\sper\s){_RATE}(?!\w)){{0,2}})(?!\w)"
)
# A bare C or F is a temperature only where it could be a body's: 56 F is a woman.
_BODY = re.compile(r"(?<![\w.,/-])((?:3[4-9]|4[0-3])(?:\.\d)?(?=\s?C)|(?:9[3-9]|10\d)\.\d(?=\s?F))\s?([CF])(?!\w)")
_BETWEEN = {"to": "-", "over": "/", "\u2013": "-"}

_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:1[89]|20)\d\d"
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_CAPITAL = r"[A-ZÀ-ÖØ-Þ]"
_NAME = rf"(?:{_CAPITAL}\.|{_CAPITAL}[^\W\d_]*(?:['\u2019-][^\W\d_]+)*)"
_EXTENSION = r"(?:\s?(?:x|ext\.?)\s?\d{1,5}(?!\d))?"

_PRIVATE = (
    ("[EMAIL]", re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")),
    (
        "[ID]",
        re.compile(
            r"(?<!\w)(?ai:MRN|SSN|(?:medical record|record|chart|patient|account|hospital)\s(?:id|no|number))"
            r"(?:\s?[.:#=]){0,2}\s?(?:is\s)?#?[A-Za-z]{0,4}-?\d[\w-]{2,}|(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"
        ),
    ),
    (
        "[PHONE]",
        re.compile(
            rf"(?<![\w+])\+(?:[ .()-]{{0,2}}\d){{8,15}}(?!\d){_EXTENSION}"
            rf"|(?<!\w)(?:1[-. ])?(?:\(\d{{3}}\) ?|\d{{3}}[-. ])\d{{3}}[-. ]\d{{4}}(?!\d){_EXTENSION}"
            r"|(?<!\w)(?ai:tel(?:ephone)?|phone|fax|mobile|pager)(?:\s(?:no\.?|number))?[.:]?\s?"
            rf"\+?(?:[ .()-]{{0,2}}\d){{7,15}}(?!\d){_EXTENSION}"
        ),
    ),
    (
        "[DATE]",
        re.compile(
            # Grouped by what they start with, and that looked at first: most places of a text are done at once.
            rf"(?<!\d)(?=\d)(?:{_YEAR}(?P<a>[-/.]){_DAY}(?P=a){_DAY}(?!\d)"
            rf"|{_DAY}(?P<b>[-/.]){_DAY}(?P=b){_YEAR}(?!\d)"
            rf"|(?<!\d/){_DAY}/{_DAY}/\d\d(?![\d/])"
            rf"|{_DAY}-(?ai:{_MONTH})-(?:{_YEAR}|\d\d)(?!\d)"
            rf"|{_DAY}(?:st|nd|rd|th)?(?: of)?\s(?:(?ai:{_MONTH})\.?,?\s{_YEAR}(?!\d)|{_MONTH}(?!\w)\.?))"
            rf"|(?<!\w)(?=[A-Za-z])(?:(?ai:{_MONTH})\.?\s(?:{_DAY}(?:st|nd|rd|th)?,?\s)?{_YEAR}(?!\w)"
            rf"|{_MONTH}\.?\s{_DAY}(?:st|nd|rd|th)?(?!\w|[.,]\d|%))"
        ),
    ),
    (
        "[NAME]",
        re.compile(
            rf"(?<!\w)(?:(?:Dr|Mr|Mrs|Ms|Miss|Prof|Professor|Doctor)\b\.?\s{{1,2}}){{1,3}}{_NAME}"
            rf"(?:\s(?:(?:van|von|de|der|den|del|la)\s){{0,2}}{_NAME}){{0,2}}"
        ),
    ),
)
_BRACKETED = re.compile(r"(\[/?\w+\])")


def normalise(text: str) -> str:
    """Return `text` with the terms of `clinical_terms` and all values in one form, and without private data.

    Dates, telephone and record numbers, e-mail addresses and names after a title become [DATE], [PHONE], [ID],
    [EMAIL] and [NAME]; years alone stay. Values keep their unit and are written one way ("120 / 80 mm Hg" is
    "120/80 mmHg", "1,000.0 MG" is "1000 mg"). Doing it again changes nothing.
    """
    # Once more where something changed: two replaced pieces may read as a third thing.
    for _ in range(_PASSES):
        before = text
        for kind, pattern in _PRIVATE:
            text = pattern.sub(kind, text)
        text = _TERM.sub(_expanded, _BODY.sub(r"\1 °\2", _VALUE.sub(_value, text)))
        if text == before:
            break
    return text


def _expanded(found: re.Match[str]) -> str:
    word = found[0]
    if word in ABBREVIATIONS:
        return ABBREVIATIONS[word]
    if (brand := word.casefold()) in MEDICATIONS:
        return MEDICATIONS[brand]
    expansion = SHORTHAND[word.casefold()]
    return expansion if word.isupper() or word[0].islower() else expansion[0].upper() + expansion[1:]


def _value(found: re.Match[str]) -> str:
    amount = _number(found["number"])
    if found["other"]:
        between = found["between"].strip()
        amount += _BETWEEN.get(between, between) + _number(found["other"])
    unit = _unit(found["unit"])
    per = re.split(r"\s?/\s?|\sper\s", found["per"])[1:]
    return "/".join([amount + ("" if unit == "%" else " ") + unit, *map(_unit, per)])


def _number(text: str) -> str:
    whole, _, decimals = text.replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole or '0'}.{decimals}" if decimals else whole or "0"


def _unit(spelling: str) -> str:
    word = spelling.casefold()
    return UNITS.get(spelling) or SPELLED_UNITS.get(word) or PER[word]


@cache
def load_ner() -> Language:
    """Return spaCy's `NER` model with its entity recogniser alone.

    Raises
    ------
    UnavailableError
        If spaCy or the model is not installed.
    """
    try:
        import spacy

        return spacy.load(NER, exclude=["tagger", "parser", "senter", "attribute_ruler", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"cleaning 'clinical-ner' finds names with spaCy's {NER}: python -m spacy download {NER} "
            "(without it: --set cleaning=clinical)"
        ) from error


def remove_people(texts: Sequence[str], ner: Language) -> list[str]:
    """Return (n,) `texts` with each PERSON that `ner` finds as [NAME]; what stands in brackets within one stays."""
    ner.max_length = max((len(text) for text in texts), default=0) + 1
    return [_without(doc.text, doc.ents) for doc in ner.pipe(texts)]


def _without(text: str, entities: Iterable) -> str:
    pieces, at = [], 0
    for entity in entities:
        if entity.label_ == "PERSON":
            inside = _BRACKETED.split(entity.text)
            names = [piece if _BRACKETED.fullmatch(piece) or not piece.strip() else "[NAME]" for piece in inside]
            pieces += text[at : entity.start_char], "".join(names)
            at = entity.end_char
    return "".join((*pieces, text[at:]))
