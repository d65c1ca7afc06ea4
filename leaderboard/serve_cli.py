"""`zoobench serve`: an API over results and stored models, and a page to try them on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ..datasets.support.errors import UnavailableError
from .console import Names, Plugins, Results, warn

if TYPE_CHECKING:
    from .serve.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    results: Results = None,
    site: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Serve the site that `zoobench site build --out DIR` made, too."),
    ] = None,
    plugin: Plugins = None,
    task: Annotated[
        Names, typer.Option(metavar="FILE.toml", help="Table of your own whose models shall answer; repeatable.")
    ] = None,
    allow_host: Annotated[
        Names, typer.Option(help="Name by which clients reach this server; repeatable ('*': any).")
    ] = None,
    models: Annotated[int, typer.Option(help="Models kept in memory.")] = 4,
    threads: Annotated[int, typer.Option(help="Models that answer side by side.")] = 2,
    batch: Annotated[int, typer.Option(help="Texts of several requests that a model answers at once.")] = 8,
    batch_wait_ms: Annotated[float, typer.Option(help="How long a request may wait for others to join it.")] = 0.0,
    max_body_mb: Annotated[float, typer.Option(help="MB (10^6 bytes) of a request.")] = 10.0,
    max_text: Annotated[int, typer.Option(help="Characters of a text.")] = 20_000,
    max_texts: Annotated[int, typer.Option(help="Texts of a request.")] = 64,
    max_pixels: Annotated[int, typer.Option(help="Pixels of an image.")] = 25_000_000,
    max_waiting: Annotated[int, typer.Option(help="Texts that may wait for one model.")] = 512,
    timeout: Annotated[float, typer.Option(help="Seconds for an answer.")] = 60.0,
) -> None:
    """Serve results and stored models over HTTP: an API (/api/docs), the Try-it page (/try), and a built site.

    SIGTERM and Ctrl-C stop it when open requests are answered; exit status 0.
    """
    _prepare(task or [])
    from ..benchmarks.options import default_results
    from .serve.settings import ANYWHERE, Batching, Limits, Settings

    limits = Limits(max_body_mb, max_text, max_texts, max_pixels, timeout, max_waiting)
    named = () if host in ANYWHERE else (host.lower(),)
    settings = Settings(
        results=Path(results or default_results()),
        plugins=tuple(plugin or ()),
        site=site,
        hosts=(*named, *(name.lower() for name in allow_host or ())),
        models=models,
        threads=threads,
        limits=limits,
        batching=Batching(batch, batch_wait_ms),
    )
    _answer(settings, host, port)


def _prepare(tasks: Sequence[str]) -> None:
    """Refuse where the extra is not installed, and register the tables that are tasks."""
    from ..datasets.own import registered
    from ..zoo.core import missing_modules

    if missing := missing_modules(("fastapi", "uvicorn", "python_multipart")):
        raise UnavailableError(f"{', '.join(missing)}: not installed: pip install 'zoobench[serve]'")
    for path in tasks:
        registered(path)


def _answer(settings: Settings, host: str, port: int) -> None:
    from .serve import server

    def tell(address: str) -> None:
        warn(f"serving {settings.results} at {address} (Ctrl-C stops)")

    server.serve(settings, host, port, tell)
    warn("stopped")
    server.leave()
