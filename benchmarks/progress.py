"""What a person sees while cells run: a live display on a terminal or notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..datasets.support.progress import in_words
from .job import Event
from .record import Record

QUIET_SECONDS = 15.0
MARKS = {"ok": ("✓", "green"), "unavailable": ("-", "yellow"), "incompatible": ("-", "yellow")}


def is_live(console: Console) -> bool:
    """Return whether a display can be redrawn in place: on a terminal, or in a notebook that has widgets."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal


@dataclass
class _Running:
    """What is known of a cell at work: the phase, and since when it is in it, and from which step."""

    started: float
    phase: str = "starting"
    step: int = 0
    total: int = 0
    told: float = 0.0
    since: float = 0.0
    first: int = 0
    reached: dict[str, int] = field(default_factory=dict)

    def see(self, event: Event, now: float) -> None:
        if event.phase != self.phase:
            # A fit goes on where it was when features came between.
            self.since, self.first = now, self.reached.get(event.phase, 0)
        elif 0 < event.step < self.step:
            self.since, self.first = now, 0  # the same phase on other rows
        if 0 < event.step < self.first:
            self.first = 0
        self.phase, self.step, self.total = event.phase, event.step, event.total
        if event.step:
            self.reached[event.phase] = event.step

    def left(self, now: float) -> float | None:
        """Return the seconds until the phase ends at the pace that it has had; None where there is none yet."""
        if self.total and self.step > self.first:
            return (now - self.since) * (self.total - self.step) / (self.step - self.first)
        return None


class Display:
    """Shows the cells of a run. Safe to call from several threads.

    Parameters
    ----------
    cells
        Their names in order.
    expected
        Seconds that a cell took before, by name, where a record tells.
    """

    def __init__(self, console: Console, cells: Sequence[str], expected: Mapping[str, float]) -> None:
        self._console, self._expected = console, dict(expected)
        self._waiting = dict.fromkeys(cells)
        self._running: dict[str, _Running] = {}
        self._guard = threading.RLock()
        self._live_cells = is_live(console)
        self._overall = Progress(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console,
        )  # fmt: skip
        self._cells = Progress(
            SpinnerColumn(), TextColumn("{task.description:<40}", markup=False), TextColumn("{task.fields[phase]:<9}"),
            BarColumn(24), TextColumn("{task.fields[steps]}"), TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._total = self._overall.add_task("cells", total=len(cells), left="")
        self._rows: dict[str, TaskID] = {}
        self._live = Live(Group(self._overall, self._cells), console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Display:
        if self._live_cells:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live_cells:
            self._live.stop()

    def say(self, line: RenderableType) -> None:
        """Print a line above the display."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def started(self, name: str) -> None:
        """Show that a cell begins."""
        with self._guard:
            self._waiting.pop(name, None)
            self._running[name] = _Running(time.monotonic(), told=time.monotonic())
            if self._live_cells:
                self._rows[name] = self._cells.add_task(name, total=None, phase="starting", steps="")
            self._tell_left()

    def event(self, name: str, event: Event) -> None:
        """Show how far a cell has come."""
        with self._guard:
            running = self._running[name]
            running.see(event, time.monotonic())
            if event.phase == "resumed":
                where = f"at epoch {event.step} of" if event.step <= event.total else "after its last epoch of"
                self.say(f"  … {name}: goes on {where} {event.total}")
            steps = f"{event.step}/{event.total}" if event.total else ""
            if self._live_cells:
                row = self._rows[name]
                self._cells.update(row, phase=event.phase, steps=steps, total=event.total or None, completed=event.step)
            elif time.monotonic() - running.told > QUIET_SECONDS:
                running.told = time.monotonic()
                self.say(f"  … {name}: {f'{event.phase} {steps}'.strip()}{self._left_in_words(', ')}")
            self._tell_left()

    def finished(self, name: str, record: Record) -> None:
        """Show what a cell came to."""
        with self._guard:
            self._running.pop(name, None)
            if self._live_cells:
                self._cells.remove_task(self._rows.pop(name))
            self._overall.advance(self._total)
            self._tell_left()
            mark, style = MARKS.get(record.status, ("✗", "red"))
            self.say(Text.assemble((mark, style), f" {name:<44} {_summary(record)}"))
            for note in record.notes:
                self.say(f"    {note}")

    def postponed(self, name: str) -> None:
        """Put a cell back: another run has it in hand, or this one is stopping."""
        with self._guard:
            self._waiting[name] = None
            self._running.pop(name, None)
            if name in self._rows:
                self._cells.remove_task(self._rows.pop(name))

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show that something other than a cell takes its time."""
        if not self._live_cells:
            self.say(f"  … {what}")
            yield
            return
        row = self._cells.add_task(what, total=None, phase="", steps="")
        yield
        self._cells.remove_task(row)

    def _tell_left(self) -> None:
        if self._live_cells:
            self._overall.update(self._total, left=self._left_in_words())

    def _left_in_words(self, before: str = "") -> str:
        seconds, unknown = self.left()
        parts = [f"about {in_words(seconds)} left"] if seconds else []
        if unknown:
            parts.append(f"{unknown} cell{'' if unknown == 1 else 's'} never timed here")
        return before + " + ".join(parts) if parts else ""

    def left(self) -> tuple[float, int]:
        """Return the expected seconds until the last cell ends, and of how many cells nothing is known.

        A cell is judged by what it took before, or by how far it has come; never by other cells, which may
        differ a thousandfold.
        """
        seconds = [self._expected.get(name) for name in self._waiting]
        seconds += [self._left_of(name, running) for name, running in self._running.items()]
        known = [value for value in seconds if value is not None]
        return sum(known) / max(1, len(self._running)), len(seconds) - len(known)

    def _left_of(self, name: str, running: _Running) -> float | None:
        now = time.monotonic()
        if name in self._expected:
            return max(0.0, self._expected[name] - (now - running.started))
        return running.left(now)


def _summary(record: Record) -> str:
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    shown = "undefined" if record.value is None else f"{record.value:.3f}"
    return f"{record.primary_metric} {shown}   fit {in_words(record.timings.total)}"
