"""The site's texts in one language: ids to words, with plurals and numbers as that language writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...datasets.support.errors import unknown_name

_FOLDER = Path(__file__).parent / "words"
_MARKS = {"en": (",", "."), "es": (".", ",")}
"""What parts thousands, and what stands before the decimals, as browsers write them (CLDR)."""
_GROUPED_FROM = {"en": 1_000, "es": 10_000}
MISSING = "\N{EN DASH}"

Text = str | Mapping[str, str]


def languages() -> list[str]:
    """Return the languages that there are words for."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


@dataclass(frozen=True)
class Say:
    """A text by its id: whoever makes a page says it so, and it is put in words when the page is written.

    Values that are `Say` themselves are put in words first; numbers are written as the language does.
    """

    id: str
    values: Mapping[str, Any]


def say(id: str, /, **values: Any) -> Say:  # noqa: A002 - as in the words
    """Return the text `id` of the site's words, with `values` in its places."""
    return Say(id, values)


@dataclass(frozen=True)
class Words:
    """The words of one language.

    A text is a string with places (``{count} rows``), or one string for ``one`` and one for ``other``, by the whole
    number ``count``.
    """

    language: str
    texts: Mapping[str, Text]

    def __call__(self, id: str, /, **values: Any) -> str:  # noqa: A002
        """Return a text; KeyError for an id that there is not."""
        text = self.texts[id]
        if not isinstance(text, str):
            text = text["one" if values["count"] == 1 else "other"]
        return text.format_map({name: self._value(value) for name, value in values.items()})

    def put(self, said: Say | str) -> str:
        """Return a text in words; a string is what it is."""
        return said if isinstance(said, str) else self(said.id, **said.values)

    def number(self, value: float | None, digits: int | None = None) -> str:
        """Return a number with `digits` decimals, without them a whole number as it is and others to three digits."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return MISSING
        if digits is None:
            digits = 0 if isinstance(value, int) else _decimals(abs(value))
        thousands, decimal = _MARKS.get(self.language, _MARKS["en"])
        grouped = "," if abs(value) >= _GROUPED_FROM.get(self.language, 1_000) else ""
        text = f"{value:{grouped}.{digits}f}"
        return text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)

    def _value(self, value: Any) -> str:
        if isinstance(value, Say):
            return self.put(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.number(value) if number else str(value)

    def for_scripts(self) -> dict[str, Text]:
        """Return the texts that the site's scripts say: those whose ids begin with ``js.``."""
        return {id: text for id, text in self.texts.items() if id.startswith("js.")}  # noqa: A001


def _decimals(size: float) -> int:
    return next((digits for limit, digits in ((1, 3), (10, 2), (100, 1)) if size < limit), 0)


@cache
def words_of(language: str) -> Words:
    """Return the words of a language; UserError where there are none."""
    if language not in languages():
        raise unknown_name("language", language, languages())
    return Words(language, json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8")))
