"""A warm process that cells fork from: one per framework, run as ``python -m zoobench.benchmarks.engines.supervisor``.

It keeps multiprocessing's fork server with the framework imported, starts one process a line that it reads
(``{"job": PATH, "environment": {…}}``), and writes a line when that process has started (``{"job", "pid"}``) and
ended (``{"job", "exit"}``). A process of its own rather than a fork server inside the harness: the harness may be
anyone's script or notebook, whose main module must not run again in each cell, each framework needs an environment
of its own, and when the harness dies, however it dies, the end of its pipe ends every cell here.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Any, NoReturn

from ..worker import main as run_job
from .orphans import Orphans

POLL_BYTES = 65536


def _ready() -> None:
    """Do nothing: the first process makes the fork server import what is preloaded."""


def main(preload: list[str]) -> NoReturn:
    """Serve until the harness closes our standard input."""
    requests, replies = _channels()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([run_job.__module__, *preload])
    first = context.Process(target=_ready)
    first.start()  # raises where a framework does not import: the traceback goes to the harness's log
    first.join()
    orphans = Orphans()
    _say(replies, {"ready": first.exitcode == 0})
    running: dict[str, ForkServerProcess] = {}
    pending = b""
    while True:
        by_sentinel = {process.sentinel: job for job, process in running.items()}
        for signalled in wait([requests, *by_sentinel]):
            if signalled in by_sentinel:
                job = by_sentinel[signalled]  # type: ignore[index]
                process = running.pop(job)
                process.join()
                orphans.end(other.pid or 0 for other in running.values())
                _say(replies, {"job": job, "exit": process.exitcode})
                continue
            block = os.read(requests, POLL_BYTES)
            if not block:
                _end(running, orphans)
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                request = json.loads(line)
                job = request["job"]
                process = context.Process(target=run_job, args=(job, request["environment"]))
                process.start()
                running[job] = process
                _say(replies, {"job": job, "pid": process.pid})


def _channels() -> tuple[int, int]:
    """Return descriptors to read from and write to the harness that no other process holds.

    The fork server and its children would keep inherited ends open, and the harness would never learn that this
    process has died: what they inherit is the null device and the error stream.
    """
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, replies


def _say(replies: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(replies, json.dumps(message).encode() + b"\n")


def _end(running: dict[str, ForkServerProcess], orphans: Orphans) -> NoReturn:
    for process in running.values():
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
    for process in running.values():
        process.join(1)
    orphans.end(())
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
