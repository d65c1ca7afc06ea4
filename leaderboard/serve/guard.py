"""What every request passes first: the right host and origin, a body that is small and not too slow; and headers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from .refusals import RefusalError
from .settings import MB, Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

API_VERSION = "1"
"""Raised when a field of an answer goes or changes its meaning; new fields come without."""

VERSION_HEADER = "zoobench-api-version"
_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Plotly writes its own styles; scripts come from files of this server alone.
_PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    VERSION_HEADER: API_VERSION,
}


class Guard:
    """An ASGI application around another.

    A page of another origin gets no answer: a browser sends an Origin with every such POST, and the name that it
    believes to talk to as Host, also where that name has been made to point at this machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._most = int(settings.limits.body_mb * MB)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
        except RefusalError as refusal:
            await refusal.response()(scope, receive, self._with_headers(send))
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn goes by its own scope, and sends no body
        await self._app(scope, self._counted(receive), self._with_headers(send))

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._settings.knows_host(host_name(host)):
            what = "no host" if not host else "a host that this server does not go by"
            message = f"the request names {what}: start the server with --allow-host NAME"
            raise RefusalError(421, "unknown_host", message)
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            raise RefusalError(403, "other_origin", "pages of other origins are not answered (CORS is closed)")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusalError(400, "bad_request", "Content-Length is no number")
        if len(length) > 15 or int(length) > self._most:
            raise self._too_large()

    def _too_large(self) -> RefusalError:
        limit = f"{self._settings.limits.body_mb:g} MB"
        return RefusalError(413, "body_too_large", f"the body is larger than {limit}", {"connection": "close"})

    def _counted(self, receive: Receive) -> Receive:
        """Return `receive` that refuses a body that grows too large, or comes too slowly."""
        seen, open_, end = 0, True, time.monotonic() + self._settings.limits.seconds

        async def counted() -> Message:
            nonlocal seen, open_
            if not open_:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                limit = f"{self._settings.limits.seconds:g} s"
                raise RefusalError(
                    408, "slow_request", f"the body did not arrive in {limit}", {"connection": "close"}
                ) from None
            seen += len(message.get("body", b""))
            open_ = bool(message.get("more_body", False))
            if seen > self._most:
                raise self._too_large()
            return message

        return counted

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                html = headers.get("content-type", "").startswith("text/html")
                headers["content-security-policy"] = _PAGES if html else _NOTHING
                headers.setdefault("cache-control", "no-cache" if html else "no-store")
            await send(message)

        return sending


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and, of IPv6, without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _place(origin: str) -> str:
    """Return host and port of an origin; nothing of one that is none ("null", of a file's page)."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else ""
