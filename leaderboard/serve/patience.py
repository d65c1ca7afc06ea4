"""Connections that say nothing, or too slowly: uvicorn ends one that idles between requests, and no other."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


def impatient(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, but one that closes a connection whose next request has no whole head by then."""

    class Impatient(AutoHTTPProtocol):  # type: ignore[misc, valid-type] - which of two it is, is known at run time
        _waiting: asyncio.TimerHandle | None = None
        cycle: Any
        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._wait()  # before a request that has come already is begun
            super().on_response_complete()  # type: ignore[misc]

        def _wait(self) -> None:
            self._stop()
            self._waiting = self.loop.call_later(seconds, self._late)

        def _stop(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()

        def _late(self) -> None:
            # What has a head is answered: its body and its answer have limits of their own.
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Impatient
