"""What every engine has in common: it is given jobs, watches their processes, and says how each ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...zoo.core import ModelCard, Needs
from ..hardware import Hardware
from ..job import Event, Job

Cause = Literal["exit", "timeout", "memory", "stopped", "pruned", "lost"]
Listener = Callable[[Event], "bool | None"]
"""Hears each event of a job; what answers true has heard enough and ends the job."""
ANEW = Event("starting anew")
"""Says that a job begins from its beginning once more: the events so far were of a process that is gone."""


class LostError(ConnectionError):
    """A job came to no end: its machines were lost under it. That tells nothing of its model, and leaves no record."""


@dataclass(frozen=True)
class Limits:
    """What a cell may use: seconds of wall time, and GB beyond the warm process; None is without limit.

    `needs` is what a machine must have free for it to begin, where machines are shared, and `software` the
    distributions whose versions it tells then.
    """

    timeout_s: float | None = None
    memory_gb: float | None = None
    needs: Needs | None = None
    software: tuple[str, ...] = ()


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
    beside
        The most other cells of this run that ran at the same moment on the same machine.
    place
        The machine that it ran on; None for the first of the engine's.
    gpus
        The UUIDs of the GPUs that it had.
    shared
        Whether another program used one of these as the run began.
    threads
        Those that it had; None for as many as the engine said.
    waited_s
        Seconds that it waited, before its clock began: for its GPUs, or until a machine was free for it.
    software
        Versions on that machine, where it is another than the driver's.
    machine
        Its address in a cluster; "" for this one.
    """

    cause: Cause
    code: int | None
    added_gb: float
    killed_for_memory: bool = False
    beside: int = 0
    place: Hardware | None = None
    gpus: tuple[str, ...] = ()
    shared: bool = False
    threads: int | None = None
    waited_s: float = 0.0
    software: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""

    @property
    def unanswered(self) -> bool:
        """Whether the process may have died of what was done to it and not of what it did.

        The fork server answers 255 for a process whose end it did not see, and nobody but the system or a person
        sends SIGKILL.
        """
        return self.cause == "lost" or (self.cause == "exit" and self.code in {255, -signal.SIGKILL})


class Engine(Protocol):
    """Where jobs run. Safe to use from several threads, one job a thread.

    Attributes
    ----------
    stopping
        Set it to end the running jobs, and to refuse further ones.
    """

    stopping: threading.Event

    @property
    def places(self) -> Sequence[Hardware]:
        """The machines that a job may run on, one of each class of hardware; never empty."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a person should know of the machines, a line each."""
        ...

    def warm(self, names: Iterable[str]) -> dict[str, str]:
        """Import frameworks ahead (keys of `servers.PRELOAD`) and return why by the names of those that failed."""
        ...

    def threads(self, card: ModelCard) -> int | None:
        """Return the threads of a model's process; None where those of the run are divided among its processes."""
        ...

    def run(self, job: Job, server: str, limits: Limits, on_event: Listener) -> Ending:
        """Run one job to its end, whatever that is; what it leaves lies in the folder `job.out` of this machine.

        Raises
        ------
        LostError
            If too many machines were lost under it.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds; no job runs on it any more."""
        ...
