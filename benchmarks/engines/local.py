"""The local engine: each cell a fresh process forked from a warm server, watched from here."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..job import EVENTS, Event, Job, tail_events
from ..worker import resident_gb
from .servers import ServerError, shared

Cause = Literal["exit", "timeout", "memory", "stopped", "lost"]
POLL_SECONDS = 0.05
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Limits:
    """What a cell may use: seconds of wall time, and GB beyond the warm process; None is without limit."""

    timeout_s: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a cell's process ended.

    Attributes
    ----------
    code
        Its exit status; negative is minus the signal that ended it; None where nobody knows.
    added_gb
        The most resident memory that was seen beyond what the process started with.
    killed_for_memory
        Whether the kernel's out-of-memory killer struck on this machine while it ran.
    """

    cause: Cause
    code: int | None
    seconds: float
    added_gb: float
    killed_for_memory: bool = False


class LocalEngine:
    """Runs jobs on this machine. Safe to use from several threads, one job a thread.

    Attributes
    ----------
    stopping
        Set it to end the running jobs, and to refuse further ones.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.stopping = threading.Event()

    def warm(self, names: Iterable[str]) -> None:
        """Start the servers side by side and wait until all of them are ready."""
        for server in [shared(name, self._device) for name in names]:
            server.wait_ready()

    def run(self, job: Job, server: str, limits: Limits, on_event: Callable[[Event], None]) -> Ending:
        """Run one job to its end, whatever that is."""
        path = job.write()
        ending = Ending("lost", None, 0.0, 0.0)
        for _ in range(2):  # a server that died is no fault of the cell's: it gets one more
            if self.stopping.is_set():
                break
            try:
                messages = shared(server, self._device).start(path)
            except ServerError:
                continue
            ending = _Watch(messages, Path(job.out), limits, on_event, self.stopping).until_end()
            if ending.cause != "lost":
                break
        return Ending("stopped", None, 0.0, 0.0) if self.stopping.is_set() else ending


class _Watch:
    """The eyes on one process: its events, its clock, its memory, its end."""

    def __init__(
        self,
        messages: queue.SimpleQueue[dict[str, Any]],
        out: Path,
        limits: Limits,
        on_event: Callable[[Event], None],
        stopping: threading.Event,
    ) -> None:
        self._messages, self._out, self._limits = messages, out, limits
        self._on_event, self._stopping = on_event, stopping
        self._start = time.monotonic()
        self._offset = 0
        self._pid: int | None = None
        self._baseline = self._added = 0.0
        self._oom_kills = _oom_kills()

    def until_end(self) -> Ending:
        while True:
            ended = self._listen()
            self._forward_events()
            if ended is not None:
                self._kill_group(signal.SIGKILL)  # what the model forked and left behind
                return ended
            cause = self._trespass()
            if cause is not None:
                return self._put_down(cause)

    def _listen(self) -> Ending | None:
        try:
            message = self._messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        if "pid" in message:
            self._pid = message["pid"]
            self._baseline = resident_gb(message["pid"])[0]
            return None
        if "lost" in message:
            return self._ending("lost", None)
        return self._ending("exit", message["exit"])

    def _trespass(self) -> Cause | None:
        if self._stopping.is_set():
            return "stopped"
        if self._limits.timeout_s is not None and time.monotonic() - self._start > self._limits.timeout_s:
            return "timeout"
        if self._pid is not None:
            self._added = max(self._added, _tree_gb(self._pid) - self._baseline)
            if self._limits.memory_gb is not None and self._added > self._limits.memory_gb:
                return "memory"
        return None

    def _put_down(self, cause: Cause) -> Ending:
        """Ask the whole process group to end, then make it."""
        gentle = cause in {"timeout", "stopped"}
        if gentle:
            self._kill_group(signal.SIGTERM)
        deadline = time.monotonic() + (GRACE_SECONDS if gentle else 0.0)
        code = None
        while code is None:
            if time.monotonic() >= deadline:
                self._kill_group(signal.SIGKILL)
                deadline = time.monotonic() + GRACE_SECONDS
            with contextlib.suppress(queue.Empty):
                message = self._messages.get(timeout=POLL_SECONDS)
                self._pid = message.get("pid", self._pid)
                code = message.get("exit", -signal.SIGKILL if "lost" in message else None)
        self._kill_group(signal.SIGKILL)
        self._forward_events()
        return self._ending(cause, code)

    def _ending(self, cause: Cause, code: int | None) -> Ending:
        killed = _oom_kills() > self._oom_kills
        return Ending(cause, code, time.monotonic() - self._start, max(0.0, self._added), killed)

    def _forward_events(self) -> None:
        events, self._offset = tail_events(self._out / EVENTS, self._offset)
        for event in events:
            self._on_event(event)

    def _kill_group(self, sign: signal.Signals) -> None:
        if self._pid is None:
            return
        import psutil

        # Also children that left the group for a session of their own.
        strays: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            strays = psutil.Process(self._pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, sign)
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.send_signal(sign)


def _tree_gb(pid: int) -> float:
    """Return the resident memory of a process and its children, in GB."""
    import psutil

    total = resident_gb(pid)[0]
    with contextlib.suppress(psutil.Error):
        total += sum(resident_gb(child.pid)[0] for child in psutil.Process(pid).children(recursive=True))
    return total


def _oom_kills() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
