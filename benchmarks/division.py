"""How many cells run side by side, and so with how many threads each: what ``--jobs auto`` chooses, and from what."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..datasets.support.errors import UserError
from ..datasets.support.files import lock, read_json, sha256_json, write_json
from ..datasets.support.folders import cache_root
from .engines import throughput
from .hardware import Hardware, versions

MEASURED_SECONDS = 3.0
"""Of work in all; starting torch comes on top."""


@dataclass(frozen=True)
class Work:
    """What there is to run.

    Attributes
    ----------
    on_cpu, on_gpu
        Processes that compute there: cells, and the trials of studies.
    seats
        Processes that the GPUs have room for at a time.
    needs_gb
        Main memory that the largest is counted with.
    """

    on_cpu: int
    on_gpu: int
    seats: int
    needs_gb: float


@dataclass(frozen=True)
class Chosen:
    """How many processes run side by side, and why, in words."""

    jobs: int
    why: str


def choose(work: Work, threads: int, memory_gb: float, measure: Callable[[], Mapping[int, float]]) -> Chosen:
    """Return how many processes to run side by side on `threads` threads and within `memory_gb` GB.

    Those on a GPU have one each and need no share of the measurement, which is made only where there is a choice.

    Parameters
    ----------
    measure
        Returns layers a second by the number of processes.
    """
    fitting = max(1, int(memory_gb / work.needs_gb))
    beside = min(work.on_gpu, work.seats, fitting)
    most = min(work.on_cpu, threads, fitting - beside)
    if beside and work.on_cpu and most < 1:
        return Chosen(beside, f"{beside} on GPUs, and {memory_gb:g} GB of memory for no more")
    if most < 2:
        jobs = max(1, beside + most)
        return Chosen(jobs, _why_not(work, threads, memory_gb, fitting))
    rates = {count: rate for count, rate in measure().items() if count <= most}
    jobs = min(rates, key=lambda count: -(-work.on_cpu // count) * count / rates[count])
    told = ", ".join(f"{count} x {max(1, threads // count)}: {rate:.0f}" for count, rate in rates.items())
    return Chosen(beside + jobs, f"layers of a text encoder a second, processes x threads, measured here: {told}")


def _why_not(work: Work, threads: int, memory_gb: float, fitting: int) -> str:
    if work.on_cpu + work.on_gpu < 2:
        return "there is one to run"
    if work.on_gpu:
        return f"the GPUs have room for {work.seats}"
    return "there is one thread" if threads < 2 else f"{memory_gb:g} GB of memory are enough for {fitting}"


def measured(hardware: Hardware, threads: int) -> Mapping[int, float]:
    """Return layers a second of all processes together by their number, the threads divided among them.

    Measured once for a machine, its threads and its versions of what computes, and kept.

    Raises
    ------
    UserError
        If the measurement ends without an answer.
    """
    identity = {
        "cpu": hardware.cpu,
        "cores": hardware.cores,
        "memory_gib": hardware.memory_gib,
        "node": platform.node(),
        "threads": threads,
        "versions": versions(("numpy", "torch")),
    }
    path = cache_root() / "hardware" / f"division-{sha256_json(identity)[:16]}.json"
    with lock(path.with_suffix(".lock")):  # a second run that measured meanwhile would halve both
        with contextlib.suppress(OSError, ValueError, AttributeError):
            kept = {int(count): float(rate) for count, rate in read_json(path).items()}
            if set(kept) == set(counts(threads)) and min(kept.values()) > 0:
                return kept
        found = _run(threads)
        write_json(path, found)
        return found


def counts(threads: int) -> Sequence[int]:
    """Return the numbers of processes that are tried: 1, 2, 4 and so on, and one for each thread.

    >>> counts(12)
    [1, 2, 4, 8, 12]
    """
    return sorted({threads, *(2**power for power in range(threads.bit_length()))})


def _run(threads: int) -> dict[int, float]:
    tried = counts(threads)
    seconds = MEASURED_SECONDS / len(tried) / throughput.ROUNDS
    done = subprocess.run(
        [sys.executable, "-m", throughput.__name__, str(threads), f"{seconds:.3f}", ",".join(map(str, tried))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        # A folder of nobody's: started in a repository's root, `-m` would find its modules first.
        cwd=tempfile.gettempdir(),
    )
    try:
        return {int(count): round(rate, 2) for count, rate in json.loads(done.stdout).items()}
    except (ValueError, AttributeError):
        words = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit status {done.returncode}")
        raise UserError(f"--jobs auto: the measurement ended without an answer ({words}): give --jobs N") from None
