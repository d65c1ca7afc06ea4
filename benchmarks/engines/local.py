"""The local engine: each cell a fresh process forked from a warm server, watched from here."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from ...datasets.support.folders import cache_root
from ...zoo.core import ModelCard
from ..gpus import VisibleGpu, visible
from ..hardware import Hardware
from ..job import EVENTS, OUTCOME, Event, Job, tail_events
from ..worker import resident_gb
from .base import Cause, Ending, Limits, Listener
from .gpu_leases import GpuLeases, Lease
from .servers import ServerError, device_of, retire, shared

POLL_SECONDS = 0.05
CHILDREN_SECONDS = 0.5
"""What children have for themselves is added up page by page: milliseconds for each GB of them."""
GRACE_SECONDS = 3.0


class LocalEngine:
    """Runs jobs on this machine, `place`, as `base.Engine` says.

    Parameters
    ----------
    gpus
        Those that cells are given, by default all that are visible; none where `device` is "cpu".
    cells_per_gpu
        Cells that may share one.
    """

    def __init__(
        self, device: str, place: Hardware, gpus: Sequence[VisibleGpu] | None = None, cells_per_gpu: int = 1
    ) -> None:
        self._device, self._place = device, place
        mine = () if device == "cpu" else visible() if gpus is None else gpus
        self._leases = GpuLeases(mine, cells_per_gpu, cache_root() / "gpus")
        self._guard = threading.Lock()
        self._watches: list[_Watch] = []
        self.stopping = threading.Event()

    @property
    def places(self) -> Sequence[Hardware]:
        """The machine of this process, with each kind of GPU that it has."""
        return tuple(dict.fromkeys(replace(self._place, gpu=gpu.kind) for gpu in self._leases.gpus)) or (self._place,)

    @property
    def remarks(self) -> Sequence[str]:
        """There is nothing to say of the machine that a person sits at."""
        return ()

    def warm(self, names: Iterable[str]) -> dict[str, str]:
        """Start the servers side by side, wait for all, and return why by the names of those that failed."""
        failed: dict[str, str] = {}
        for server in [shared(name, device_of(name, self._device)) for name in names]:
            try:
                server.wait_ready()
            except ServerError as error:
                failed[server.name] = str(error)
        return failed

    def run(self, job: Job, server: str, limits: Limits, on_event: Listener) -> Ending:
        """Run one job to its end, whatever that is; one that was killed from outside gets a second try.

        A job that wants GPUs waits until as many are free, and its clock begins then.
        """
        with self._leases.lease(job.gpus, self.stopping, lambda: on_event(Event("waiting"))) as lease:
            if lease is None:
                return Ending("stopped", None, 0.0)
            ending = self._run(job, server, limits, on_event, lease)
            if not lease.gpus:
                return ending
            place = replace(self._place, gpu=lease.gpus[0].kind)
            shared = any(gpu.taken for gpu in lease.gpus)
            return replace(ending, place=place, gpus=_uuids(lease), shared=shared, waited_s=lease.waited_s)

    def _run(self, job: Job, server: str, limits: Limits, on_event: Listener, lease: Lease) -> Ending:
        path = job.write()
        ending = Ending("lost", None, 0.0)
        for _ in range(2):
            if self.stopping.is_set():
                break
            try:
                messages = shared(server, job.device).start(path, _uuids(lease))
            except ServerError:
                continue
            watch = _Watch(messages, Path(job.out), limits, on_event, self.stopping)
            with self._running(watch):
                ending = watch.until_end()
            if not ending.unanswered or (Path(job.out) / OUTCOME).exists():
                break
            # A server that is gone may look alive until the system has cleared it away: the second try gets another.
            if ending.cause == "lost" or ending.code == 255:
                retire(server, job.device)
        return Ending("stopped", None, 0.0) if self.stopping.is_set() else ending

    def threads(self, card: ModelCard) -> None:
        """All processes share the threads of the run."""
        del card

    def end(self, job: Job) -> None:
        """End a job as if what it said had been enough, if it runs by now."""
        with self._guard:
            for watch in self._watches:
                watch.unwanted = watch.unwanted or watch.out == Path(job.out)

    def close(self) -> None:
        """Nothing is held: the warm servers are the process's own, and serve the next run."""

    @contextlib.contextmanager
    def _running(self, watch: _Watch) -> Iterator[None]:
        with self._guard:
            self._watches.append(watch)
            for other in self._watches:
                other.beside = max(other.beside, len(self._watches) - 1)
        try:
            yield
        finally:
            with self._guard:
                self._watches.remove(watch)


def _uuids(lease: Lease) -> tuple[str, ...]:
    return tuple(gpu.uuid for gpu in lease.gpus)


class _Watch:
    """The eyes on one process: its events, its clock, its memory, its end."""

    def __init__(
        self,
        messages: queue.SimpleQueue[dict[str, Any]],
        out: Path,
        limits: Limits,
        on_event: Listener,
        stopping: threading.Event,
    ) -> None:
        self._messages, self.out, self._limits = messages, out, limits
        self._on_event, self._stopping = on_event, stopping
        self._start = time.monotonic()
        self._offset = 0
        self._pid: int | None = None
        self._baseline = self._added = self._asked = 0.0
        self._children_gb: dict[int, float] = {}
        self._children: dict[int, psutil.Process] = {}
        self.beside = 0
        self._oom_kills = _oom_kills()
        self.unwanted = False

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
        if self.unwanted:
            return "pruned"
        if self._limits.timeout_s is not None and time.monotonic() - self._start > self._limits.timeout_s:
            return "timeout"
        if self._pid is not None:
            self._added = max(self._added, self._tree_gb() - self._baseline)
            if self._limits.memory_gb is not None and self._added > self._limits.memory_gb:
                return "memory"
        return None

    def _put_down(self, cause: Cause) -> Ending:
        """Ask the whole process group to end, then make it."""
        gentle = cause in {"timeout", "stopped", "pruned"}
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
        return Ending(cause, code, max(0.0, self._added), _oom_kills() > self._oom_kills, self.beside)

    def _tree_gb(self) -> float:
        """Return the process's resident memory and what its children have for themselves, in GB.

        Pages that a forked child still shares with its parent count once. Children are remembered: one that left
        for a session of its own is found again when the cell ends.
        """
        alive, asks = descendants(self._pid or 0), time.monotonic() > self._asked + CHILDREN_SECONDS
        for pid in alive:
            with contextlib.suppress(psutil.Error):
                child = self._children.setdefault(pid, psutil.Process(pid))
                if asks or pid not in self._children_gb:
                    self._children_gb[pid] = child.memory_full_info().uss / 1e9
        if asks:
            self._asked = time.monotonic()
        return resident_gb(self._pid or 0)[0] + sum(self._children_gb.get(pid, 0.0) for pid in alive)

    def _forward_events(self) -> None:
        events, self._offset = tail_events(self.out / EVENTS, self._offset)
        for event in events:
            self.unwanted = bool(self._on_event(event)) or self.unwanted

    def _kill_group(self, sign: signal.Signals) -> None:
        if self._pid is None:
            return
        for pid in descendants(self._pid):
            with contextlib.suppress(psutil.Error):
                self._children.setdefault(pid, psutil.Process(pid))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, sign)
        for child in self._children.values():
            with contextlib.suppress(psutil.Error):
                child.send_signal(sign)  # psutil knows a process by its start too: never another's number


def descendants(pid: int) -> list[int]:
    """Return the process numbers of all children of `pid`, and theirs, from /proc; none where there is no /proc."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        threads = Path(f"/proc/{waiting.pop()}/task")
        with contextlib.suppress(OSError):  # it may end while it is looked at
            for listing in threads.glob("*/children"):
                with contextlib.suppress(OSError):
                    children = [int(word) for word in listing.read_text().split()]
                    found += children
                    waiting += children
    return found


def _oom_kills() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
