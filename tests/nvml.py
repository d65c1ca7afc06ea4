"""A driver that is not there: an object that answers like pynvml, for machines without a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 2**30


@dataclass
class Part:
    """A GPU, or a slice of one: its slices, the bytes in use, and who uses them as (pid, bytes)."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    total: int = 80 * GIB
    used: int = 0
    running: list[tuple[int, int | None]] = field(default_factory=list)
    slices: list[Part] | None = None


class NVMLError(Exception):
    """What every call raises that the driver refuses."""


class Nvml:
    """The part of pynvml that is asked here; `parts` None is a machine without a driver."""

    NVMLError = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1
    nvmlMemory_v2 = 0x2000028  # noqa: N815

    def __init__(self, parts: list[Part] | None) -> None:
        self.parts, self.open = parts, 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's names
        if self.parts is None:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.parts or ())

    def nvmlDeviceGetHandleByIndex(self, number: int) -> Part:  # noqa: N802
        return (self.parts or [])[number]

    def nvmlDeviceGetMigMode(self, part: Part) -> list[int]:  # noqa: N802
        if part.name == "Tesla T4":
            raise NVMLError("Not Supported")
        return [int(part.slices is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, part: Part) -> int:  # noqa: N802
        return 7 if part.slices is not None else 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, part: Part, place: int) -> Part:  # noqa: N802
        if place >= len(part.slices or ()):
            raise NVMLError("Not Found")
        return (part.slices or [])[place]

    def nvmlDeviceGetUUID(self, part: Part) -> str:  # noqa: N802
        return part.uuid

    def nvmlDeviceGetName(self, part: Part) -> str:  # noqa: N802
        return part.name

    def nvmlDeviceGetMemoryInfo(self, part: Part, version: int | None = None) -> SimpleNamespace:  # noqa: N802
        if version is not None and part.name == "Tesla T4":
            raise NVMLError("Function Not Found")
        return SimpleNamespace(total=part.total, used=part.used)

    def nvmlDeviceGetComputeRunningProcesses(self, part: Part) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in part.running]

    def nvmlSystemGetProcessName(self, pid: int) -> str:  # noqa: N802
        if pid == 1:
            raise NVMLError("Not Found")
        return "/usr/bin/python3 train.py"

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.1"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 12080
