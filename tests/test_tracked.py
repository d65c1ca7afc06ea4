"""Long work is shown on stderr: a bar on a terminal, a line now and then in a log, nothing for quick work."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from functools import partial

import pytest
from rich.console import Console
from rich.live import Live
from zoobench.datasets.support import progress as progress_module
from zoobench.datasets.support.progress import amount, progress, tracked


class Clock:
    """What progress takes for the time, in seconds: it stands still until a test lets it tick."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    # A tally took the real clock for its default when its class was made.
    monkeypatch.setattr(progress_module, "_Tally", partial(progress_module._Tally, began=clock.now))
    return clock


def test_a_log_gets_a_line_now_and_then(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    values = list(tracked((clock.tick(0.5) or value for value in range(60)), 60, "decoding [red] images"))
    assert values == list(range(60))
    assert capfd.readouterr() == (
        "",
        "decoding [red] images: 4 of 60 (7%), 2/s, about 28.0 s left\n"
        "decoding [red] images: 24 of 60 (40%), 2/s, about 18.0 s left\n"
        "decoding [red] images: 44 of 60 (73%), 2/s, about 8.0 s left\n"
        "decoding [red] images: 60 in 30.0 s\n",
    )


def test_what_was_done_before_does_not_count_for_the_rate(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    with progress("rest", 1_000_000_000, unit="bytes", done=900_000_000) as advance:
        clock.tick(4)
        advance(100_000)
    line = capfd.readouterr().err.splitlines()[0]
    assert line == "rest: 900.1 MB of 1.0 GB (90%), 25.0 kB/s, about 1 h 6 min left"


def test_quick_work_shows_nothing(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    list(tracked((clock.tick(0.001) for _ in range(1000)), 1000, "quick"))
    assert clock.now > 0.9
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_work_passes_through() -> None:
    def work() -> None:
        with progress("work", 3):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()


SHOWN = """
import sys, time
from rich.console import Console
from rich.live import Live
from zoobench.datasets.support import progress
progress.SHOW_AFTER = 0.1
def work(what):
    for _ in progress.tracked(range(40), 40, what): time.sleep(0.02)
if sys.argv[1] == "alone": work("counting")
else:
    with Live("OTHER", console=Console(stderr=True)): work("counting")
print("end", file=sys.stderr)
"""


def on_a_terminal(word: str) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SHOWN, word], stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_a_terminal_gets_a_bar_that_is_wiped_away() -> None:
    shown = on_a_terminal("alone")
    assert re.search(r"counting .*\d+ of 40 \(\d+%\), [\d.]+/s, about [\d.]+ s left", shown)
    after = shown[shown.rindex("counting") :]
    assert "\x1b[2K" in after
    assert after.rstrip().endswith("end")


def test_another_display_keeps_the_terminal_to_itself() -> None:
    shown = on_a_terminal("beside")
    assert "OTHER" in shown
    assert "counting" not in shown
    assert shown.rstrip().endswith("end")


def test_a_display_of_the_same_process_does_no_harm_in_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    with Live("other", console=Console(file=io.StringIO(), force_terminal=True)):
        assert list(tracked(range(3), 3, "within")) == [0, 1, 2]
    assert capfd.readouterr().err == ""


def test_amounts_in_words() -> None:
    assert [amount(count, "bytes") for count in (0, 999, 1000, 999_960, 4_210_000_000)] == [
        "0 bytes", "999 bytes", "1.0 kB", "1.0 MB", "4.2 GB",
    ]  # fmt: skip
    assert [amount(count, "items") for count in (0, 3.14, 112_120)] == ["0", "3.1", "112,120"]
