"""The display: plain lines without a terminal, and a time left that is never guessed from other cells."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console
from zoobench.benchmarks.job import Event, tail_events
from zoobench.benchmarks.progress import Display
from zoobench.datasets.support.progress import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.97, "60.0 s"), (75, "1 min 15 s"), (3599.6, "1 h 0 min"), (8000, "2 h 13 min")],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_time_left_comes_from_history_and_progress_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    display = Display(Console(file=io.StringIO()), ["a", "b", "c"], {"a": 10.0, "b": 20.0})
    assert display.left() == (30.0, 1), "c was never timed"
    display.started("a")
    now += 4
    assert display.left() == (26.0, 1)
    display.started("c")
    display.event("c", Event("fit", 1, 4))
    now += 2
    display.event("c", Event("fit", 2, 4))
    # Two run side by side: 4 s of a, 20 s of b, and c is half done after 2 s.
    assert display.left() == ((4 + 20 + 2) / 2, 0)


def test_a_pause_between_epochs_is_part_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    display = Display(Console(file=io.StringIO()), ["a"], {})
    display.started("a")
    for at, step in ((0, 0), (10, 5), (10, 10), (4, 10)):  # the last tells the epoch's score: the same step
        now += at
        display.event("a", Event("fit", step, 20 if step else 0))
    assert display.left() == (24.0, 0)
    for phase, step in (("features", 1), ("features", 2), ("fit", 0)):
        now += 3
        display.event("a", Event(phase, step, 2 if step else 0))
    assert display.left()[1] == 1, "nothing is known of a phase before its first step"
    now += 2
    display.event("a", Event("fit", 11, 20))
    assert display.left() == (18.0, 0), "a step took 2 s since the fit went on, from step 10"


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = io.StringIO()
    with Display(Console(file=out, width=200), ["slow"], {}) as display:
        display.started("slow")
        for step in range(1, 60):
            now += 1
            display.event("slow", Event("fit", step, 60))
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) <= 4, "a line every fifteen seconds or so"
    assert "slow: fit" in lines[0]
    assert "left" in lines[0]
    assert "\x1b" not in out.getvalue()


def test_events_are_read_whole_lines_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "events"
    assert tail_events(path, 0) == ([], 0)
    path.write_text('{"phase": "fit", "step": 1, "total": 2}\n{"phase": "f')
    events, offset = tail_events(path, 0)
    assert events == [Event("fit", 1, 2)]
    path.write_text('{"phase": "fit", "step": 1, "total": 2}\n{"phase": "fit", "step": 2, "total": 2}\nnoise\n')
    assert tail_events(path, offset)[0] == [Event("fit", 2, 2)]
