"""Long work is shown on stderr: a bar on a terminal, a line now and then in a log, nothing for quick work."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console
from rich.live import Live
from zoobench.datasets.support import progress as progress_module
from zoobench.datasets.support.progress import amount, progress, tracked


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SHOW_AFTER", 0.1)
    monkeypatch.setattr(progress_module, "LINE_EVERY", 0.2)


@pytest.mark.usefixtures("hasty")
def test_a_log_gets_a_line_now_and_then(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    values = list(tracked((time.sleep(0.01) or value for value in range(60)), 60, "decoding [red] images"))
    assert values == list(range(60))
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert 2 <= len(lines) <= 2 + (time.monotonic() - began) / 0.2
    pattern = r"decoding \[red\] images: \d+ of 60 \(\d+%\), [\d.]+/s, about [\d.]+ s left"
    assert all(re.fullmatch(pattern, line) for line in lines[:-1]), lines
    assert re.fullmatch(r"decoding \[red\] images: 60 in [\d.]+ s", lines[-1])


@pytest.mark.usefixtures("hasty")
def test_what_was_done_before_does_not_count_for_the_rate(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("rest", 1_000_000_000, unit="bytes", done=900_000_000) as advance:
        time.sleep(0.15)
        advance(1000)
    line = capfd.readouterr().err.splitlines()[0]
    assert line.startswith("rest: 900.0 MB of 1.0 GB (90%), ")
    assert re.search(r", \d[\d.]* (bytes|kB)/s, about ", line), line


def test_quick_work_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    list(tracked(range(1000), 1000, "quick"))
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
