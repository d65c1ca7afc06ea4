"""Which GPUs this process may use, what they are and who uses them: the driver is asked, no CUDA is begun."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.support.errors import UserError

GIB = 2**30
BUSY_GB = 1.0
"""More than that in use is somebody's, also where the driver names no process: in a container it sees its own alone."""


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU: its name, memory in GiB, driver, and the newest CUDA that the driver runs."""

    name: str
    memory_gib: int
    driver: str
    cuda: str = ""


@dataclass(frozen=True)
class Tenant:
    """A process on a GPU and the memory that it holds there, in GB; None where the driver does not tell."""

    pid: int
    name: str
    gb: float | None

    def __str__(self) -> str:
        held = "" if self.gb is None else f", {self.gb:.1f} GB"
        return f"{self.name or 'a process'} (pid {self.pid}{held})"


@dataclass(frozen=True)
class VisibleGpu:
    """A GPU, or a MIG slice of one, that the cells of this process may use.

    Attributes
    ----------
    index
        As nvidia-smi counts: "0"; of a slice "0:1".
    uuid
        The name by which CUDA_VISIBLE_DEVICES tells it from all others.
    used_gb, total_gb
        Of its memory, in GB, when it was looked at.
    tenants
        Other processes that compute on it.
    """

    index: str
    uuid: str
    kind: Gpu
    used_gb: float
    total_gb: float
    tenants: tuple[Tenant, ...] = ()

    @property
    def taken(self) -> bool:
        """Whether somebody else uses it."""
        return bool(self.tenants) or self.used_gb > BUSY_GB

    @property
    def users(self) -> str:
        """Who uses it, in words."""
        return ", ".join(map(str, self.tenants)) or f"a process that the driver does not name ({self.used_gb:.1f} GB)"


def visible(named: str | None = None) -> tuple[VisibleGpu, ...]:
    """Return the GPUs that `named`, or else CUDA_VISIBLE_DEVICES, leaves, in its order; none where no driver answers.

    Numbers count as nvidia-smi does. Of a GPU in slices (MIG) each slice is one, and the GPU itself none.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = [each for number in range(pynvml.nvmlDeviceGetCount()) for each in _slices(pynvml, number)]
        named = os.environ.get("CUDA_VISIBLE_DEVICES") if named is None else named
        chosen = _chosen([(index, uuid) for index, uuid, _ in found], named)
        return tuple(_look(pynvml, *found[place]) for place in chosen)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _slices(nvml: Any, number: int) -> Iterator[tuple[str, str, Any]]:
    """Yield index, UUID and handle of the slices of a GPU, or its own where it has none."""
    whole = nvml.nvmlDeviceGetHandleByIndex(number)
    sliced = False
    with contextlib.suppress(nvml.NVMLError):  # not every GPU can be
        sliced = nvml.nvmlDeviceGetMigMode(whole)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    if not sliced:
        yield str(number), str(nvml.nvmlDeviceGetUUID(whole)), whole
        return
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(whole)):
        with contextlib.suppress(nvml.NVMLError):  # a place that no slice has
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, place)
            yield f"{number}:{place}", str(nvml.nvmlDeviceGetUUID(part)), part


def _chosen(found: Sequence[tuple[str, str]], wanted: str | None) -> list[int]:
    """Return the places in `found`, (index, UUID) each, that CUDA_VISIBLE_DEVICES names, up to a strange word."""
    if wanted is None:
        return list(range(len(found)))
    places: list[int] = []
    for word in map(str.strip, wanted.split(",")):
        if word.isdigit():
            named = [place for place, (index, _) in enumerate(found) if index.partition(":")[0] == str(int(word))]
        elif word.startswith(("GPU-", "MIG-")):
            named = [place for place, (_, uuid) in enumerate(found) if uuid.startswith(word)]
        else:
            named = []
        if not named:
            break
        places += named
    return list(dict.fromkeys(places))


def _look(nvml: Any, index: str, uuid: str, handle: Any) -> VisibleGpu:
    memory = _memory(nvml, handle)
    cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()
    kind = Gpu(
        str(nvml.nvmlDeviceGetName(handle)),
        round(memory.total / GIB),
        str(nvml.nvmlSystemGetDriverVersion()),
        f"{cuda // 1000}.{cuda % 1000 // 10}",
    )
    return VisibleGpu(index, uuid, kind, memory.used / 1e9, memory.total / 1e9, tuple(_tenants(nvml, handle)))


def _memory(nvml: Any, handle: Any) -> Any:
    """Return total and used bytes; of the second version, which does not count what the driver keeps for itself."""
    try:
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetMemoryInfo(handle)


def _tenants(nvml: Any, handle: Any) -> Iterator[Tenant]:
    import psutil

    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    running: list[Any] = []
    with contextlib.suppress(nvml.NVMLError):  # not every driver tells everybody
        running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    for each in running:
        if each.pid in ours:
            continue
        name = ""
        with contextlib.suppress(nvml.NVMLError, OSError):
            name = Path(str(nvml.nvmlSystemGetProcessName(each.pid)).split(" ")[0]).name
        yield Tenant(each.pid, name, None if each.usedGpuMemory is None else each.usedGpuMemory / 1e9)


def choose(found: Sequence[VisibleGpu], device: str, *, share: bool) -> tuple[tuple[VisibleGpu, ...], list[str]]:
    """Return the GPUs that cells are given, and what a person should know of those that others use.

    Free ones alone are given where there are any. With `share` all are, the free ones first; without, where every
    one is taken, "auto" gives them and says so.

    Raises
    ------
    UserError
        For device "cuda" where every GPU is taken, unless `share`.
    """
    free, taken = [each for each in found if not each.taken], [each for each in found if each.taken]
    told = [f"GPU {each.index} is used by {each.users}" for each in taken]
    taken.sort(key=lambda each: each.used_gb)
    if share or not taken:
        return (*free, *taken), [f"{line}: shared with it (--share-gpus)" for line in told]
    if free:
        return tuple(free), [f"{line}: left to it; --share-gpus takes it too" for line in told]
    if device == "cuda":
        raise UserError(f"device cuda: {'; '.join(told)}: wait, use --device cpu, or share by --share-gpus")
    return tuple(taken), [f"{line}, and no other is free: times and memory are not the cells' own" for line in told]
