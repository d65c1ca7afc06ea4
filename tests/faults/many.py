"""Very many tiny cells in one run: the run's own process does not grow, and leaves nothing open."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from ..conftest import TASK, write_models
from .scene import cells, processes

QUICK = "def fit(self, X, y):\n    return self\ndef predict_proba(self, X):\n    return self.half(X)\n"


def many(folder: Path, count: int, most_mb: float) -> tuple[list[str], str]:
    """Run `count` cells; return what is wrong, and the growth in words.

    Memory and descriptors are those of the run's own process, once a tenth of the cells and 20 of them are done: by
    then everything is imported. The board that is printed after the last one does not count. Growth is the difference
    of the medians of the first and the last tenth.
    """
    (folder / "tasks.py").write_text(TASK)
    write_models(folder / "quick.py", {"quick": QUICK})
    results = folder / "many"
    command = [sys.executable, "-m", "zoobench.leaderboard.cli", "run", "--task", "tiny", "--model", "quick"]
    command += ["--plugin", str(folder / "tasks.py"), "--plugin", str(folder / "quick.py"), "--results", str(results)]
    command += [word for seed in range(count) for word in ("--seed", str(seed))]
    start = time.monotonic()
    with (folder / "many.log").open("w") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log)
        seen = _watch(run, results)
    took = time.monotonic() - start
    done = len(cells(results))
    lines = [] if run.returncode == 0 and done == count else [f"status {run.returncode}, {done} of {count} records"]
    part = [each for each in seen if max(20, count // 10) <= each[0] < count]
    tenth = max(1, len(part) // 10)
    first, last = (sorted(each[1] for each in some)[tenth // 2] for some in (part[:tenth], part[-tenth:]))
    files = (part[0][2], part[-1][2])
    if last - first > most_mb:
        lines.append(f"the run grew by {last - first:.0f} MB, from {first:.0f} to {last:.0f}")
    if files[1] > files[0] + 4:
        lines.append(f"open files grew from {files[0]} to {files[1]}")
    lines += [f"process {line} is left behind" for line in processes(results)]
    return lines, f"{count} cells in {took:.0f} s, memory {last - first:+.1f} MB, open files {files[0]} to {files[1]}"


def _watch(run: subprocess.Popen[bytes], results: Path) -> list[tuple[int, float, int]]:
    """Return (records, MB of the run's process, its open files) about four times a second, until it ends."""
    process, seen = psutil.Process(run.pid), []
    while run.poll() is None:
        try:
            here = (len(cells(results)), process.memory_info().rss / 1e6, process.num_fds())
            seen += [here] if here[1] else []  # nothing, where it has just ended
        except psutil.Error:
            break
        time.sleep(0.25)
    run.wait()
    return seen
