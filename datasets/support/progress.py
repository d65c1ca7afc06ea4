"""How far long work has come, on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from rich.table import Table

Unit = Literal["items", "bytes"]
SHOW_AFTER = 2.0
"""Seconds; work that takes less is not worth a word."""
LINE_EVERY = 10.0
"""Seconds between two lines where stderr is no terminal."""

T = TypeVar("T")


def tracked(iterable: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Yield from `iterable`, showing how many of `total` are done (None: unknown); see `progress`.

    >>> for path in tracked(paths, len(paths), "decoding images"): ...
    """
    with progress(what, total) as advance:
        for value in iterable:
            yield value
            advance()


@contextlib.contextmanager
def progress(what: str, total: int | None, *, unit: Unit = "items", done: int = 0) -> Iterator[Callable[..., None]]:
    """Show work until the block ends; what it yields, ``advance(n=1)``, is called as the work goes on, by any thread.

    Nothing is shown for work of less than two seconds, and none while another display has the terminal.

    Parameters
    ----------
    what
        A few words: "decoding images".
    total
        How much there is to do; None where it is not known.
    done
        How much of it was done before this block: it does not count for the rate.
    """
    tally = _Tally(what, total, unit, done, started_at=done)
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(tally):
            yield tally.advance
        return
    lines = _Lines(tally)
    yield lines.advance
    lines.close()


def in_words(seconds: float) -> str:
    """Return a duration for people.

    >>> in_words(4.21), in_words(75), in_words(8000)
    ('4.2 s', '1 min 15 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def amount(count: float, unit: Unit) -> str:
    """Return a number of items, or of bytes in decimal units, for people.

    >>> amount(112120, "items"), amount(4_210_000, "bytes")
    ('112,120', '4.2 MB')
    """
    if unit == "items":
        return f"{count:,.0f}" if count >= 10 or count == int(count) else f"{count:.1f}"
    for name in ("bytes", "kB", "MB"):
        if count < 999.95:
            return f"{count:.0f} bytes" if name == "bytes" else f"{count:.1f} {name}"
        count /= 1000
    return f"{count:.1f} GB"


@dataclass
class _Tally:
    what: str
    total: int | None
    unit: Unit
    done: int
    started_at: int
    began: float = field(default_factory=time.monotonic)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, count: int = 1) -> None:
        with self.guard:
            self.done += count

    def figures(self) -> str:
        """Say how much is done, how fast, and how long the rest will take."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        rate = (self.done - self.started_at) / seconds
        share = f" of {amount(self.total, self.unit)} ({self.done / self.total:.0%})" if self.total else ""
        text = f"{amount(self.done, self.unit)}{share}, {amount(rate, self.unit)}/s"
        if self.total and rate > 0:
            text += f", about {in_words(max(0, self.total - self.done) / rate)} left"
        return text


class _Lines:
    """Prints a line when the work has lasted long enough to ask, then every ten seconds, and one at the end."""

    def __init__(self, tally: _Tally) -> None:
        self._tally, self._due, self._told = tally, tally.began + SHOW_AFTER, False

    def advance(self, count: int = 1) -> None:
        self._tally.advance(count)
        if time.monotonic() < self._due:
            return
        with self._tally.guard:
            if time.monotonic() < self._due:
                return
            self._due, self._told = time.monotonic() + LINE_EVERY, True
        _say(f"{self._tally.what}: {self._tally.figures()}")

    def close(self) -> None:
        if self._told:
            tally = self._tally
            _say(f"{tally.what}: {amount(tally.done, tally.unit)} in {in_words(time.monotonic() - tally.began)}")


def _say(line: str) -> None:
    # A log that cannot be written must not end the work that it tells of.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _bar(tally: _Tally) -> Iterator[None]:
    """Draw a bar once the work has lasted long enough, and wipe it away when the block ends."""
    from rich.console import Console
    from rich.file_proxy import FileProxy
    from rich.live import Live

    live = Live(get_renderable=lambda: _row(tally), console=Console(stderr=True), refresh_per_second=5, transient=True)

    def show() -> None:
        # A display of somebody else that has the terminal stands in for stdout and stderr; two would overwrite
        # each other line by line.
        if not isinstance(sys.stderr, FileProxy) and not isinstance(sys.stdout, FileProxy):
            live.start()

    timer = threading.Timer(SHOW_AFTER, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        live.stop()


def _row(tally: _Tally) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1))
    what, figures = (Text(text, no_wrap=True, overflow="ellipsis") for text in (tally.what, tally.figures()))
    row.add_row(what, ProgressBar(tally.total, tally.done, width=16), figures)
    return row
