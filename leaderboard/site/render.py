"""A page put into the words of a language: one jinja2 environment, every text escaped."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from .core import Page, Site, model_path
from .wording import Say, Words, words_of

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
ASSETS = _HERE / "assets"
_CODE = re.compile(r"`([^`]+)`")


def environment(*more: Path) -> Environment:
    """Return the environment of all templates, and of those in the folders `more`."""
    made = Environment(
        loader=FileSystemLoader([_HERE / "templates", *more]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["marked"] = marked
    return made


def marked(text: str) -> Markup:
    """Return escaped HTML of a text in which what stands between backticks is code."""
    parts = _CODE.split(text)
    made = (Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts))
    return Markup("").join(made)


class Writer:
    """Puts pages into HTML.

    Parameters
    ----------
    languages
        The first stands at the root of the site, the others in folders of their names.
    known
        The paths of all pages: a link to any other is none.
    templates
        Folders of further templates.
    """

    def __init__(
        self, site: Site, languages: tuple[str, ...], known: Collection[str], templates: Collection[Path] = ()
    ) -> None:
        self._site, self._known = site, frozenset(known)
        self._languages = languages
        self._environment = environment(*templates)
        self._templates: dict[str, Template] = {}
        self._said: dict[int, Markup] = {}

    def place(self, path: str, language: str) -> str:
        """Return where a page of a language stands below the root of the site."""
        return path if language == self._languages[0] else f"{language}/{path}"

    def html(self, page: Page, language: str, words: Words | None = None) -> str:
        """Return a page in a language, in its words or in `words` of the same language."""
        words = words or words_of(language)
        at = self.place(page.path, language)
        template = self._templates.get(page.template) or self._environment.get_template(page.template)
        self._templates[page.template] = template
        charts = bool(page.figures) or page.charts
        others = {each: _relative(self.place(page.path, each), at) for each in self._languages}
        return template.render(
            **self._tools(words, at),
            page=page,
            site=self._site,
            language=language,
            languages=others,
            names={each: words_of(each)("language.name") for each in self._languages},
            scripts=[*(["charts.js"] if charts else []), *page.scripts],
            said=self._for_scripts(words),
            blocks={"data": page.data, "figures": page.figures},
            **page.values,
        )

    def _for_scripts(self, words: Words) -> Markup:
        """Return the words that scripts say as JSON, which is the same on all pages of a language."""
        if id(words) not in self._said:
            self._said[id(words)] = htmlsafe_json_dumps(words.for_scripts(), dumps=_dumps(words))
        return self._said[id(words)]

    def _tools(self, words: Words, at: str) -> dict[str, Any]:
        def href(path: str) -> str:
            """Return the address of a page of the same language, or "" where there is no such page."""
            return _relative(self.place(path, words.language), at) if path in self._known else ""

        return {
            "t": words,
            "put": words.put,
            "number": words.number,
            "href": href,
            "asset": lambda name: _relative(f"assets/{name}", at),
            "model_path": model_path,
            "file": lambda path: _relative(path, at),
            "block": lambda value: htmlsafe_json_dumps(value, dumps=_dumps(words)),
        }


def _relative(path: str, at: str) -> str:
    return posixpath.relpath(path, posixpath.dirname(at) or ".")


def _dumps(words: Words) -> Callable[..., str]:
    """Return what writes JSON in which each `Say` has become words, and no figure is NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, Say):
            return words.put(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        raise TypeError(f"{type(value).__name__} is no JSON value")

    def dumps(value: Any, **_: Any) -> str:
        return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    return dumps
