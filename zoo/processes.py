"""Work spread over forked processes that cannot outlive the one that forked them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import TypeVar

from ..datasets.support.errors import UnavailableError, UserError

Job = TypeVar("Job")
Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1
_KNOWN = {kind.__name__: kind for kind in (MemoryError, UserError, UnavailableError)}
"""Errors that whoever asked tells apart: they arrive as themselves, all others as RuntimeError."""


def spread(
    jobs: Sequence[Job], work: Callable[[Job], Result], processes: int
) -> Generator[tuple[int, Result], None, None]:
    """Yield (place in `jobs`, ``work(job)``) as they are done, by `processes` forked processes of one thread each.

    Forked, they hold the caller's data and weights without a copy; jobs are dealt one at a time. They end with
    the generator, and with their parent however it dies. Where the system has no such bond, and for one process
    or one job, the caller works itself.

    Raises
    ------
    MemoryError
        If the system killed a process, or `work` raised it there.
    UserError, UnavailableError
        If `work` raised it in a process.
    RuntimeError
        If a process died, or `work` failed there otherwise; the message holds the error's type and first line.
    """
    processes = min(processes, len(jobs))
    if processes < 2 or sys.platform != "linux":
        yield from ((place, work(job)) for place, job in enumerate(jobs))
        return
    workers = [_start(jobs, work) for _ in range(processes)]
    try:
        idle, todo, running = [pipe for _, pipe in workers], iter(range(len(jobs))), 0
        while True:
            for pipe in idle:
                if (place := next(todo, None)) is not None:
                    _send(pipe, place, workers)
                    running += 1
            if not running:
                return
            idle = [pipe for pipe in wait([pipe for _, pipe in workers]) if isinstance(pipe, Connection)]
            for pipe in idle:
                yield _received(pipe, workers)
                running -= 1
    finally:
        for process, pipe in workers:
            process.kill()
            process.join()
            pipe.close()


def _start(jobs: Sequence[Job], work: Callable[[Job], Result]) -> tuple[ForkProcess, Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, jobs, work, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return process, ours  # type: ignore[return-value] - Pipe is typed for all systems


def _send(pipe: Connection, place: int, workers: Sequence[tuple[ForkProcess, Connection]]) -> None:
    try:
        pipe.send(place)
    except OSError:
        raise _death(pipe, workers) from None


def _received(pipe: Connection, workers: Sequence[tuple[ForkProcess, Connection]]) -> tuple[int, Result]:
    try:
        place, result, problem = pipe.recv()
    except (EOFError, OSError):
        raise _death(pipe, workers) from None
    if problem:
        kind, line = problem
        raise _KNOWN[kind](line) if kind in _KNOWN else RuntimeError(f"{kind}: {line}")
    return place, result


def _death(pipe: Connection, workers: Sequence[tuple[ForkProcess, Connection]]) -> Exception:
    process = next(process for process, end in workers if end is pipe)
    process.join()
    kind = MemoryError if process.exitcode == -signal.SIGKILL else RuntimeError
    return kind(f"a process that worked for this one ended with status {process.exitcode}")


def _serve(pipe: Connection, jobs: Sequence[Job], work: Callable[[Job], Result], parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the bond was made
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    while True:
        place = pipe.recv()
        try:
            answer = (place, work(jobs[place]), None)
        except Exception as error:
            traceback.print_exc()
            kind = next((name for name, known in _KNOWN.items() if isinstance(error, known)), type(error).__name__)
            answer = (place, None, (kind, next(iter(str(error).splitlines()), "")))
        pipe.send(answer)
