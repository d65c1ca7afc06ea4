"""The hardware class: what it names, what is measured once, and devices that are not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from zoobench.benchmarks import hardware
from zoobench.benchmarks.hardware import Gpu, Hardware
from zoobench.datasets.support.errors import UserError

MACHINE = Hardware("Intel(R) Xeon(R) CPU @ 2.50GHz", 2, 24, None, 100.0, 10.0)


def test_the_class_follows_the_machine_and_not_its_calibration() -> None:
    assert MACHINE.class_id == "intel-xeon-2.50ghz-2c-24g"
    assert dataclasses.replace(MACHINE, matmul_gflops=1.0).class_id == MACHINE.class_id
    others = [
        dataclasses.replace(MACHINE, cores=4),
        dataclasses.replace(MACHINE, memory_gib=48),
        dataclasses.replace(MACHINE, cpu="AMD EPYC 9000"),
        dataclasses.replace(MACHINE, gpu=Gpu("NVIDIA H100", 80, "550.1")),
    ]
    assert len({machine.class_id for machine in (MACHINE, *others)}) == 5
    assert others[-1].class_id.endswith("nvidia-h100-80g")


def test_calibrations_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOBENCH_CACHE", str(tmp_path))
    first = hardware.measure("cpu")
    assert first.matmul_gflops > 0.5
    assert first.memory_gb_per_s > 0.2
    assert first.cores >= 1
    monkeypatch.setattr(hardware, "_matmul_gflops", lambda: pytest.fail("measured again"))
    assert hardware.measure("cpu") == first
    next((tmp_path / "hardware").iterdir()).write_text("{")
    monkeypatch.setattr(hardware, "_matmul_gflops", lambda: 7.0)
    assert hardware.measure("cpu").matmul_gflops == 7.0, "a damaged file is measured again"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu", lambda: None)
    assert hardware.choose_device("auto") == hardware.choose_device("cpu") == "cpu"
    with pytest.raises(UserError, match="no NVIDIA GPU answers"):
        hardware.choose_device("cuda")
    monkeypatch.setattr(hardware, "gpu", lambda: Gpu("NVIDIA H100", 80, "1"))
    assert hardware.choose_device("auto") == hardware.choose_device("cuda") == "cuda"
    assert hardware.choose_device("cpu") == "cpu"


def test_versions_leave_out_what_is_absent() -> None:
    found = hardware.versions(("numpy", "not-a-distribution"))
    assert set(found) == {"python", "numpy"}
