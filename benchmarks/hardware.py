"""What a machine is: its hardware class, two short calibrations, and the software of a cell."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..datasets.support.errors import UserError, unknown_name
from ..datasets.support.files import read_json, sha256_json, write_json
from ..datasets.support.folders import cache_root
from .gpus import GIB, Gpu, visible


@dataclass(frozen=True)
class Hardware:
    """A machine as a cell sees it; two machines of one `class_id` may have their times compared.

    Attributes
    ----------
    cores
        That this process may use.
    matmul_gflops
        float32 matrix product of 2,048 x 2,048 by NumPy on all cores, best of five.
    memory_gb_per_s
        Copying 256 MB, bytes read and written, best of five.
    gpus
        How many GPUs this process may use; a cell has one of its own, so they are no part of the class.
    """

    cpu: str
    cores: int
    memory_gib: int
    gpu: Gpu | None
    matmul_gflops: float
    memory_gb_per_s: float
    gpus: int = 0

    @property
    def label(self) -> str:
        """The class in words."""
        gpu = f" + {self.gpu.name} {self.gpu.memory_gib} GiB" if self.gpu else ""
        return f"{self.cpu}, {self.cores} cores, {self.memory_gib} GiB{gpu}"

    @property
    def class_id(self) -> str:
        """The class as one word."""
        words = re.sub(r"\((r|tm)\)|cpu|processor", " ", self.label.lower()).replace(" cores", "c").replace(" gib", "g")
        return "-".join(re.findall(r"[a-z0-9.]+", words))

    def as_json(self) -> dict[str, Any]:
        """Return the fields, the class and its label as plain values."""
        return {**asdict(self), "class_id": self.class_id, "label": self.label}


def choose_device(wanted: str, *, elsewhere: bool = False) -> str:
    """Return "cpu" or "cuda" for a ``--device`` of auto, cpu, cuda; as it is where cells run `elsewhere`.

    Raises
    ------
    UserError
        For any other word, or cuda where no GPU answers.
    """
    if wanted not in {"auto", "cpu", "cuda"}:
        raise unknown_name("device", wanted, ("auto", "cpu", "cuda"))
    if elsewhere:
        return wanted
    found = gpu()
    if wanted == "cuda" and found is None:
        raise UserError("device cuda: no NVIDIA GPU answers on this machine; use --device cpu or auto")
    return "cuda" if found is not None and wanted != "cpu" else "cpu"


def gpu() -> Gpu | None:
    """Return what the NVIDIA GPU is that a process would use first; None where none is visible or no driver answers."""
    return next((each.kind for each in visible()), None)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(device: str) -> Hardware:
    """Return this machine's hardware as cells on `device` see it; the calibrations are made once and kept."""
    import psutil

    found = visible() if device == "cuda" else ()
    machine = {"cpu": _cpu_name(), "cores": cores(), "memory_gib": round(psutil.virtual_memory().total / GIB)}
    parts: dict[str, Any] = {**machine, "gpu": found[0].kind if found else None, "gpus": len(found)}
    identity = {**machine, "gpu": None, "node": platform.node()}
    path = cache_root() / "hardware" / f"{sha256_json(identity)[:16]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        known: dict[str, Any] = read_json(path)
        return Hardware(**parts, **known)
    speeds: dict[str, Any] = {"matmul_gflops": _matmul_gflops(), "memory_gb_per_s": _memory_gb_per_s()}
    write_json(path, speeds)
    return Hardware(**parts, **speeds)


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1].strip()
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def _matmul_gflops(size: int = 2048) -> float:
    import numpy as np

    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    return round(2 * size**3 / _fastest(lambda: a @ a) / 1e9, 1)


def _memory_gb_per_s(megabytes: int = 256) -> float:
    import numpy as np

    source = np.ones(megabytes * 1_000_000, np.uint8)
    target = np.empty_like(source)
    return round(2 * source.nbytes / _fastest(lambda: np.copyto(target, source)) / 1e9, 1)


def _fastest(work: Any, times: int = 5) -> float:
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each distribution; those that are absent are left out."""
    found = {"python": platform.python_version()}
    for name in distributions:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def revision() -> str:
    """Return the git revision of the checkout that this package runs from, with ``+`` if it is changed; or ""."""
    room = Path(__file__).parent
    if not (room.parent / ".git").exists():
        return ""
    try:
        head = _git(room, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(room, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    asked = ["git", "-C", str(folder), *words]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
