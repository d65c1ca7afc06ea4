"""kill -9 at random moments: of the run itself, of a cell's process, of a warm server."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .scene import Scene

VICTIMS = ("run", "cell", "server")


def kill_and_resume(scene: Scene, results: Path, draw: random.Random) -> list[str] | None:
    """Kill one process of a run at a random moment, run it again to its end, and return what was lost.

    Returns
    -------
    A line for each loss; None where no such process lived at that moment.
    """
    victim = draw.choice(VICTIMS)
    moment = draw.uniform(0.0, scene.seconds)
    start = time.monotonic()
    run = scene.start(results)
    while time.monotonic() < start + moment and run.poll() is None:
        time.sleep(0.01)
    struck = _strike(run.pid, victim, draw)
    told = f"{victim} at {moment:.2f} s"
    run.wait(600)  # where another process died, it goes on
    if not struck:
        return None
    return [f"{told}: {line}" for line in scene.resume(results)]


def _strike(pid: int, victim: str, draw: random.Random) -> bool:
    try:
        run = psutil.Process(pid)
        family = run.children(recursive=True)
        cells = [child for child in family if "/.work/" in _folder(child)]
        chosen = {"run": [run], "cell": cells, "server": [child for child in family if child not in cells]}[victim]
        if not chosen:
            return False
        draw.choice(chosen).send_signal(signal.SIGKILL)
    except psutil.Error:
        return False
    return True


def _folder(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def kills(scene: Scene, count: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """Strike `count` times, each in a results folder of its own, and return what was lost."""
    draw, done, lost = random.Random(seed), 0, []  # noqa: S311
    while done < count:
        results = scene.folder / f"kill-{done}"
        found = kill_and_resume(scene, results, draw)
        if found is not None:
            done += 1
            say(f"kill {done} of {count}: {'; '.join(found) or 'nothing lost'}")
            lost += found
        if not found:
            shutil.rmtree(results, ignore_errors=True)
    return lost
