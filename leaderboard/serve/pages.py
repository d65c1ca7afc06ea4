"""The pages that only a server has: Try it, and what the API is. In the site's dress, and nothing from elsewhere."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from ..frame import Board
from ..site.core import TRY, Page, Site
from ..site.render import ASSETS, Writer
from ..site.wording import Words, say, words_of
from .examples import EXAMPLES, FIELDS, JOINED, colours_of
from .guard import API_VERSION, VERSION_HEADER
from .refusals import RefusalError

if TYPE_CHECKING:
    from .answering import Desk
    from .catalogue import Catalogue

_HERE = Path(__file__).parent
DOCS = "api/docs"
LANGUAGES = ("en", "es")
_SHOWN = {".css", ".js", ".svg"}
_LINKED = ("index.html", "compare.html", "method.html")


def add_pages(app: FastAPI, desk: Desk) -> None:
    """Add the pages, in every language, and the files that they need."""
    folders = (ASSETS, _HERE / "assets")
    if desk.settings.site is not None:
        folders = (*folders, desk.settings.site / "assets")  # its pages go with what they were built with
    files = {path.name: path for folder in folders for path in folder.glob("*") if path.suffix in _SHOWN}

    for language in LANGUAGES:
        _add_page(app, desk, TRY, language)
        _add_page(app, desk, DOCS, language)
        page = _address(TRY, language)
        app.add_api_route(page.removesuffix(".html"), _to(page), include_in_schema=False)

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in files or not files[name].is_file():
            raise RefusalError(404, "not_found", "no such file")
        return FileResponse(files[name])


def _add_page(app: FastAPI, desk: Desk, path: str, language: str) -> None:
    @lru_cache(1)  # to compile the templates takes a while, which nobody else may wait for each time
    def written(catalogue: Catalogue) -> str:
        made = _try_page(catalogue) if path == TRY else _docs_page(app.openapi(), desk)
        return _writer(catalogue).html(made, language, words(language))

    async def page() -> HTMLResponse:
        return HTMLResponse(await asyncio.to_thread(written, await desk.folder.now()))

    app.add_api_route(_address(path, language), page, include_in_schema=False)


def _to(address: str) -> Any:
    return lambda: RedirectResponse(address)


def _address(path: str, language: str) -> str:
    return f"/{path}" if language == LANGUAGES[0] else f"/{language}/{path}"


@cache
def words(language: str) -> Words:
    """Return the site's words of a language and those of these pages."""
    own = json.loads((_HERE / "words" / f"{language}.json").read_text(encoding="utf-8"))
    shared = words_of(language).texts
    # Of texts for scripts, those that each page of the site uses: it has tables and a theme.
    return Words(language, {**shared, **own})


def _writer(catalogue: Catalogue) -> Writer:
    """Return what writes pages; a link to the site stands only where a site is served."""
    folder = catalogue.settings.site
    known = [TRY, DOCS, *(path for path in _LINKED if folder and (folder / path).is_file())]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    site = Site(Path(), Board(catalogue.board, ()), (), now, version("zoobench"), catalogue.records, None)
    return Writer(site, LANGUAGES, known, [_HERE / "templates"])


def _try_page(catalogue: Catalogue) -> Page:
    tasks = {name: _form(catalogue, name) for name in catalogue.answering}
    return Page(
        TRY,
        "try.html.jinja",
        say("try.title"),
        "try",
        values={"tasks": tasks},
        data={"tasks": tasks},
        scripts=("try.js",),
    )


def _form(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """Return what the page's script is told of a task."""
    card = catalogue.card_of(name)
    return {
        "title": card.title,
        "description": card.description,
        "modality": card.modality,
        "models": list(catalogue.answering[name]),
        "fields": list(FIELDS.get(card.name, ("text",))) if card.modality == "text" else [],
        "joined": JOINED.get(card.name, " "),
        "beside": list(card.tabular),
        "spoken": card.name == "nih-chest-xray14",
        "example": EXAMPLES.get(card.name),
        "colours": colours_of(card),
    }


def _docs_page(described: Mapping[str, Any], desk: Desk) -> Page:
    calls = [
        {"method": method.upper(), "address": address, **call}
        for address, methods in described["paths"].items()
        for method, call in methods.items()
    ]
    forms = described["components"]["schemas"]
    limits = {name: getattr(desk.settings.limits, name) for name in desk.settings.limits.__dataclass_fields__}
    values = {"calls": calls, "forms": forms, "limits": limits, "api_version": API_VERSION, "header": VERSION_HEADER}
    return Page(DOCS, "docs.html.jinja", say("docs.title"), "docs", values={**values, "kind": kind_of})


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return the type that a part of a JSON schema describes, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        parts = [each for each in schema["anyOf"] if each.get("type") != "null" or "default" not in schema]
        return " | ".join(dict.fromkeys(map(kind_of, parts)))
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"[{kind_of(schema.get('items', {}))}, …]"
    ends = [schema.get("minimum"), schema.get("maximum")]
    between = "" if ends == [None, None] else f" {ends[0]} to {ends[1]}" if ends[1] is not None else f" from {ends[0]}"
    return f"{schema.get('type', 'anything')}{between}"
