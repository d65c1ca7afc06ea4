"""The process: a socket that is its own, and uvicorn, which ends when its open requests have."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable

import uvicorn
from PIL import Image
from threadpoolctl import threadpool_limits

from ...datasets.support.errors import UserError
from .answering import THREADS
from .app import create_app
from .patience import impatient
from .settings import Settings

HEAD_SECONDS = 10.0
"""How long a connection may take to say what it asks: its request line and headers."""
GRACE_SECONDS = 30
"""How long open requests may take once the server was asked to stop."""


def serve(settings: Settings, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Answer requests until SIGTERM or Ctrl-C; what was asked before is answered still.

    Parameters
    ----------
    port
        0 takes a free one.
    tell
        Is called with the server's address when it takes requests.

    Raises
    ------
    UserError
        If the port is taken or not to be had, or the results cannot be read.
    """
    # Pillow's own, larger limit: what is larger than this server's is refused before.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    listening = listen(host, port)
    with contextlib.closing(listening):
        app = create_app(settings)
        logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            http=impatient(min(HEAD_SECONDS, settings.limits.seconds)),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        tell(address_of(listening, host))
        # uvicorn stops in order at a signal, and then raises it again as if it had not.
        # Products of one request are too small for several threads of BLAS, which spin while they wait for more.
        with contextlib.suppress(KeyboardInterrupt), threadpool_limits(1, user_api="blas"):
            uvicorn.Server(config).run(sockets=[listening])


def leave() -> None:
    """End the process if a model still computes what nobody waits for any more: Python would wait for it."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(f"{THREADS}_")]
    for thread in threads:
        thread.join(0.5)
    if any(thread.is_alive() for thread in threads):
        sys.stderr.flush()
        os._exit(0)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; UserError where that cannot be."""
    if not host:
        raise UserError("--host is empty: give 127.0.0.1, or 0.0.0.0 for all of this machine's addresses")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sends at once (TCP_NODELAY) only where the socket says that it is TCP: an answer took 40 ms more.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(2048)
    except OverflowError as error:
        raise UserError(f"port {port} is none: give 0 (any free one) to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is taken: give another with --port (0 takes a free one)") from error
        raise UserError(f"{host}, port {port} cannot be listened on ({error.strerror}): give --host, --port") from error
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address that a browser on this machine takes."""
    port = listening.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"
