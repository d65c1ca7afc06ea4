"""The application: API, pages and site behind one guard."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ...benchmarks.options import load_plugin
from ..site.core import TRY
from .answering import Desk
from .forms import in_words
from .guard import API_VERSION, Guard
from .pages import add_pages
from .refusals import Code, RefusalError, told
from .routes import FORMS, router_of
from .settings import Settings

_log = logging.getLogger("zoobench.serve")
_CODES: dict[int, Code] = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
_ABOUT = """Stored results and stored models of zoobench. An error is `{"error": {"code", "message"}}`. Every answer
carries the header `zoobench-api-version`; the addresses below `/api/` stand below `/api/v1/` too."""


def create_app(settings: Settings) -> Guard:
    """Return the ASGI application.

    Raises
    ------
    UserError
        If the results folder is missing or has no record.
    """
    for path in settings.plugins:
        load_plugin(path)
    desk = Desk(settings)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    # FastAPI's own pages of documentation load from elsewhere: `pages` has one that does not.
    app = FastAPI(
        title="zoobench",
        version=API_VERSION,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=life,
    )
    router = router_of(desk)
    app.include_router(router, prefix="/api")
    app.include_router(router, prefix=f"/api/v{API_VERSION}", include_in_schema=False)
    _describe(app)
    add_pages(app, desk)
    _add_handlers(app)
    if settings.site is not None:
        app.mount("/", StaticFiles(directory=settings.site, html=True), name="site")
    else:
        app.add_api_route("/", lambda: RedirectResponse(f"/{TRY}"), include_in_schema=False)
    return Guard(app, settings)


def _describe(app: FastAPI) -> None:
    """Add to the API's description what a body may be, and serve it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        found = made()
        forms = models_json_schema(
            [(form, "validation") for form in FORMS], ref_template="#/components/schemas/{model}"
        )[1]
        found["components"]["schemas"] |= forms["$defs"]
        return found

    app.openapi = openapi  # type: ignore[method-assign] - FastAPI's own way to extend it

    @app.get("/api/openapi.json", include_in_schema=False)
    async def description() -> Response:
        from .refusals import PlainJSON

        return PlainJSON(app.openapi())


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refused(_: Request, error: RefusalError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return told(422, "invalid", in_words(error.errors()))

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "bad_request")
        return told(error.status_code, code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> Response:
        _log.error("a request failed", exc_info=error)
        return told(500, "fault", "the server failed at this request; its log says how")
