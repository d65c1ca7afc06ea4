"""A clock that jumps a day backwards under a run, by time-machine: what lasts is told by clocks that do not jump."""

from __future__ import annotations

import json
import os
import time

from .scene import Scene, cells, losses

# Python imports it at the start of each process below this folder of its path: the run's, and the warm servers'.
_JUMPS = """
import datetime, os, threading, time
from pathlib import Path

def wait():
    import time_machine
    while not Path(FLAG).exists():
        time.sleep(0.05)
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    time_machine.travel(yesterday, tick=True).start()

threading.Thread(target=wait, daemon=True).start()
"""


def clock_back(scene: Scene) -> list[str]:
    """Run with a clock that jumps back a day after the first record; return what went wrong."""
    path, flag = scene.folder / "jumps", scene.folder / "jump-now"
    path.mkdir()
    (path / "sitecustomize.py").write_text(_JUMPS.replace("FLAG", repr(str(flag))))
    results, start = scene.folder / "clock-back", time.monotonic()
    before = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = scene.start(results, PYTHONPATH=os.pathsep.join(before))
    while run.poll() is None and not cells(results) and time.monotonic() < start + 120:
        time.sleep(0.05)
    flag.touch()
    status = run.wait(600)
    took = time.monotonic() - start
    lines = [f"the run ended with status {status}"] if status else []
    days = set()
    for name, record in ((name, json.loads(path.read_text())) for name, path in cells(results).items()):
        days.add(record["created"][:10])
        wrong = {key: value for key, value in record["timings"].items() if not 0 <= value <= took}
        lines += [f"{name}: {key} of {value:.1f} s in a run of {took:.1f} s" for key, value in wrong.items()]
    if len(days) < 2:
        lines.append(f"the clock did not jump: all records are of {days}")
    return [*lines, *losses(results, scene.unbroken)]
