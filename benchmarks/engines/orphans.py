"""Processes that a cell left behind by forking twice: their first parent is gone, and no tree leads to them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable

import psutil

_PR_SET_CHILD_SUBREAPER = 36


class Orphans:
    """Makes this process the one that orphans below it fall to (Linux), and ends them with the cell they came from.

    Made before the first cell: what are children of this process then are its own.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._own = {child.pid for child in psutil.Process().children()}

    def end(self, running: Iterable[int]) -> None:
        """Kill the orphans that cannot be of a cell that runs still, which is known by process number."""
        begun = [started for pid in running if (started := _started(pid)) is not None]
        for _ in range(8):  # what one of them leaves behind falls here in turn
            found = [child for child in psutil.Process().children() if child.pid not in self._own]
            old = [child for child in found if not begun or (_started(child.pid) or 0.0) < min(begun)]
            if not old:
                return
            for child in old:
                with contextlib.suppress(psutil.Error, ChildProcessError):
                    child.send_signal(signal.SIGKILL)
                    os.waitpid(child.pid, 0)


def _started(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
