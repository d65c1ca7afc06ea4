"""GPUs: which are there, who uses them, and that each cell has one of its own. The driver is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from zoobench.benchmarks import run
from zoobench.benchmarks.engines.gpu_leases import GpuLeases, Lease
from zoobench.benchmarks.engines.local import LocalEngine
from zoobench.benchmarks.engines.servers import computes_on, environment
from zoobench.benchmarks.gpus import Gpu, VisibleGpu, choose, visible
from zoobench.benchmarks.hardware import Hardware, measure
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, read_record
from zoobench.datasets.support.errors import UserError
from zoobench.zoo.core import MODELS

from .conftest import zoobench_here
from .nvml import Nvml, Part

GB = 10**9
Install = Callable[..., Nvml]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make this a machine with the given GPUs, until the test ends."""
    made: list[Nvml] = []

    def install(*parts: Part, driver: bool = True) -> Nvml:
        made.append(Nvml(list(parts) if driver else None))
        monkeypatch.setitem(sys.modules, "pynvml", made[-1])  # type: ignore[arg-type]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return made[-1]

    yield install
    assert not any(each.open for each in made), "every look at the driver is ended"


def two(**first: object) -> tuple[Part, Part]:
    return Part("GPU-aaaa-1", **first), Part("GPU-bbbb-2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("0, 0", ["GPU-aaaa-1"]),
        ("GPU-bbbb-2", ["GPU-bbbb-2"]),
        ("GPU-b", ["GPU-bbbb-2"]),
        ("1,5,0", ["GPU-bbbb-2"]),  # CUDA stops at a number that there is not
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_the_parents_choice_is_kept(
    machine: Install, monkeypatch: pytest.MonkeyPatch, asked: str | None, seen: list[str]
) -> None:
    machine(*two())
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert [each.uuid for each in visible()] == seen


def test_slices_are_gpus_and_their_whole_is_none(machine: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    part = "NVIDIA H100 80GB HBM3 MIG 3g.40gb"
    slices = [Part("MIG-c1", part, 40 * 2**30), Part("MIG-c2", part, 40 * 2**30, 5 * GB, [(77, 4 * GB)])]
    machine(Part("GPU-aaaa-1", slices=slices), Part("GPU-t4", "Tesla T4", 15 * 2**30))
    found = visible()
    assert [(each.index, each.uuid) for each in found] == [("0:0", "MIG-c1"), ("0:1", "MIG-c2"), ("1", "GPU-t4")]
    assert found[0].kind == Gpu(part, 40, "570.1", "12.8")
    assert [each.taken for each in found] == [False, True, False]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-c2")
    assert [each.uuid for each in visible()] == ["MIG-c2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert [each.uuid for each in visible()] == ["MIG-c1", "MIG-c2"]


def test_no_driver_is_no_gpu(machine: Install) -> None:
    machine(driver=False)
    assert visible() == ()
    assert measure("cuda").gpu is None


def test_the_class_is_of_the_gpu_and_the_count_is_told(machine: Install) -> None:
    machine(*two())
    found = measure("cuda")
    assert found.class_id.endswith("nvidia-h100-80gb-hbm3-80g")
    assert found.as_json()["gpu"] == {
        "name": "NVIDIA H100 80GB HBM3", "memory_gib": 80, "driver": "570.1", "cuda": "12.8",
    }  # fmt: skip
    assert found.gpus == 2
    assert measure("cpu").gpu is None


def test_who_uses_a_gpu_is_named_and_our_own_children_are_not(machine: Install) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        running = [(4242, 3 * GB), (1, None), (child.pid, GB)]
        machine(*two(used=4 * GB, running=running), Part("GPU-unnamed", used=2 * GB))
        first, second, unnamed = visible()
    finally:
        child.communicate(b"\n")
    assert first.users == "python3 (pid 4242, 3.0 GB), a process (pid 1)"
    assert not second.taken
    assert unnamed.taken, "in a container the driver may name nobody"
    assert unnamed.users == "a process that the driver does not name (2.0 GB)"


def test_taken_gpus_are_left_refused_or_shared(machine: Install) -> None:
    machine(*two(used=4 * GB, running=[(4242, 3 * GB)]))
    found = visible()
    mine, told = choose(found, "auto", share=False)
    assert [each.uuid for each in mine] == ["GPU-bbbb-2"]
    assert told == ["GPU 0 is used by python3 (pid 4242, 3.0 GB): left to it; --share-gpus takes it too"]
    assert [each.uuid for each in choose(found, "cuda", share=True)[0]] == ["GPU-bbbb-2", "GPU-aaaa-1"], "free first"
    with pytest.raises(UserError, match=r"GPU 0 is used by python3 \(pid 4242, 3.0 GB\): wait, use --device cpu, or"):
        choose(found[:1], "cuda", share=False)
    mine, told = choose(found[:1], "auto", share=False)
    assert mine == found[:1]
    assert "no other is free" in told[0]
    assert choose(found[1:], "cuda", share=False) == (found[1:], [])


def test_the_command_line_refuses_taken_gpus_and_shows_who_has_them(machine: Install, tiny: Path) -> None:
    machine(*two(used=4 * GB, running=[(4242, 3 * GB)]), Part("GPU-c", used=9 * GB, running=[(7, 8 * GB)]))
    said = zoobench_here("hardware").stdout
    assert "GPU 0" in said
    assert "used by python3 (pid 4242, 3.0 GB)" in " ".join(said.split())
    assert " ".join(said.split()).count("free") == 1
    machine(*two(used=4 * GB, running=[(4242, 3 * GB)])[:1])
    words = ("run", "--plugin", tiny, "--task", "tiny", "--device", "cuda", "--model")
    refused = zoobench_here(*words, "embedding-logreg")
    assert refused.returncode == 2
    assert refused.stderr.startswith("zoobench: device cuda: GPU 0 is used by python3 (pid 4242, 3.0 GB)")
    assert refused.stderr.count("\n") == 1
    nonsense = zoobench_here(*words, "dummy-uniform", "--tf32")
    assert (nonsense.returncode, "none of these cells computes on one" in nonsense.stderr) == (2, True)
    assert (
        "--cells-per-gpu 0 must be more than 0" in zoobench_here(*words, "dummy-uniform", "--cells-per-gpu", "0").stderr
    )


def gpus(count: int) -> list[VisibleGpu]:
    return [VisibleGpu(str(n), f"GPU-{n}", Gpu("NVIDIA H100", 80, "1"), 0.0, 85.9) for n in range(count)]


def test_no_gpu_has_two_cells_and_all_have_one(tmp_path: Path) -> None:
    leases, stopping, guard = GpuLeases(gpus(3), 1, tmp_path), threading.Event(), threading.Lock()
    held: list[str] = []
    most, seen = 0, set[str]()

    def cell(count: int) -> None:
        nonlocal most
        with leases.lease(count, stopping, lambda: None) as lease:
            assert lease is not None
            mine = [each.uuid for each in lease.gpus]
            with guard:
                assert not set(mine) & set(held)
                held.extend(mine)
                most = max(most, len(held))
                seen.update(mine)
            time.sleep(0.02)
            with guard:
                for each in mine:
                    held.remove(each)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cell, [1, 1, 2, 1, 3, 1, 2, 1, 1, 9]))  # who wants nine gets the three that there are
    assert most == 3
    assert seen == {"GPU-0", "GPU-1", "GPU-2"}


def test_cells_share_a_gpu_where_that_is_asked_for_and_spread_first(tmp_path: Path) -> None:
    leases, stopping = GpuLeases(gpus(2), 2, tmp_path), threading.Event()

    def taken() -> tuple[Lease | None, object]:
        context = leases.lease(1, stopping, stopping.set)
        return context.__enter__(), context

    found = [taken() for _ in range(5)]
    assert [lease and lease.gpus[0].index for lease, _ in found] == ["0", "1", "0", "1", None]
    for _, context in found:
        context.__exit__(None, None, None)  # type: ignore[attr-defined]


def test_each_kind_of_gpu_is_a_place(tmp_path: Path) -> None:
    machine = Hardware("cpu", 2, 24, Gpu("NVIDIA H100", 80, "1"), 100.0, 10.0, gpus=3)
    other = VisibleGpu("9", "GPU-9", Gpu("Tesla T4", 15, "1"), 0.0, 16.1)
    engine = LocalEngine("cuda", machine, [*gpus(2), other])
    assert [place.class_id[-15:] for place in engine.places] == ["nvidia-h100-80g", "4g-tesla-t4-15g"]
    assert LocalEngine("cpu", machine, [other]).places == (machine,)


HOLDER = """
import sys, threading
from pathlib import Path
from zoobench.benchmarks.engines.gpu_leases import GpuLeases
from zoobench.benchmarks.gpus import Gpu, VisibleGpu
gpu = VisibleGpu("0", "GPU-0", Gpu("NVIDIA H100", 80, "1"), 0.0, 85.9)
with GpuLeases([gpu], 1, Path(sys.argv[1])).lease(1, threading.Event(), lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_runs_gpu_is_waited_for_and_a_dead_runs_is_free(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    leases, waited = GpuLeases(gpus(1), 1, tmp_path), threading.Event()
    try:
        with ThreadPoolExecutor(1) as pool:

            def cell() -> float:
                with leases.lease(1, threading.Event(), waited.set) as lease:
                    assert lease is not None
                    return lease.waited_s

            found = pool.submit(cell)
            assert waited.wait(10)
            assert not found.done()
            other.kill()
            assert found.result(10) > 0
    finally:
        other.kill()
        other.communicate()


def test_who_waits_hears_that_the_run_stops(tmp_path: Path) -> None:
    leases, stopping = GpuLeases(gpus(1), 1, tmp_path), threading.Event()
    with leases.lease(1, stopping, lambda: None), leases.lease(1, stopping, stopping.set) as second:
        assert second is None


def test_servers_begin_no_cuda_and_leave_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-c2")
    added = environment("keras-tensorflow", "cuda")
    assert added["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert (added["PYTORCH_NVML_BASED_CUDA_CHECK"], added["CUDA_VISIBLE_DEVICES"]) == ("1", "0")
    assert environment("torch", "cpu")["CUDA_VISIBLE_DEVICES"] == "-1"


def test_every_framework_but_scikit_learn_takes_a_gpu() -> None:
    cards = [model.card for model in MODELS.entries().values()]
    on_gpu = {card.framework for card in cards if computes_on(card, card.default, "cuda") == "cuda"}
    assert on_gpu == {"torch", "keras"}
    assert {computes_on(card, card.default, "cpu") for card in cards} == {"cpu"}


SIDE_BY_SIDE = '''
import json, os, time
import numpy as np
from zoobench.zoo.core import ModelCard, model


class Telling:
    """Says what it sees, and when it began and ended."""

    def __init__(self, context):
        self.labels, self.device = len(context.task.labels), context.device

    def fit(self, X, y):
        start = time.time()
        time.sleep({nap})
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        growth = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH")
        self.notes_ = (json.dumps(dict(device=self.device, seen=seen, growth=growth, start=start, end=time.time())),)
        return self

    def predict_proba(self, X):
        return np.full((len(X), self.labels), 0.5)


def card(name, framework, **default):
    return ModelCard(
        name=name, title="t", description="d", modality="text", framework=framework, citation="c", default=default
    )
'''


def telling(path: Path, frameworks: dict[str, str], nap: float) -> Path:
    """Write a plug-in with models of frameworks that say which GPU they see."""
    entries = [
        f'\n\n@model(card("{name}", {framework}))\ndef build_{name}(config, context):\n    return Telling(context)\n'
        for name, framework in frameworks.items()
    ]
    path.write_text(SIDE_BY_SIDE.replace("{nap}", str(nap)) + "".join(entries))
    return path


def told(record: Record) -> dict[str, Any]:
    assert record.status == "ok", record.reason
    return json.loads(record.notes[0])


def test_cells_have_a_gpu_of_their_own_and_others_go_on(machine: Install, tmp_path: Path, tiny: Path) -> None:
    machine(*two())
    frameworks = {
        **dict.fromkeys(("a1", "a2", "a3", "a4"), '"torch"'), "both": '"torch", gpus=2',
        **dict.fromkeys(("c1", "c2"), '"scikit-learn"'),
    }  # fmt: skip
    plugin = telling(tmp_path / "telling.py", frameworks, nap=1.5)
    common = {"task": "tiny", "plugin": [tiny, plugin], "quiet": True, "device": "cuda"}
    run(model=list(frameworks), jobs=4, results=tmp_path / "r", **common)  # type: ignore[arg-type]
    records = {record.model: record for record in map(read_record, Results(tmp_path / "r").record_paths())}
    found = {name: told(record) for name, record in records.items()}
    assert {found[name]["seen"] for name in ("a1", "a2", "a3", "a4")} == {"GPU-aaaa-1", "GPU-bbbb-2"}
    assert found["both"]["seen"] == "GPU-aaaa-1,GPU-bbbb-2"
    on_gpu = [each for name, each in found.items() if name[0] != "c"]
    for first in on_gpu:
        for second in on_gpu:
            if first is not second and set(first["seen"].split(",")) & set(second["seen"].split(",")):
                assert first["end"] <= second["start"] or second["end"] <= first["start"], "two cells had one GPU"
    for name, record in records.items():
        assert record.gpus == ([] if name[0] == "c" else found[name]["seen"].split(","))
        assert record.device == found[name]["device"] == ("cpu" if name[0] == "c" else "cuda")
        assert (found[name]["seen"] == "-1") == (name[0] == "c")
        assert record.hardware["gpus"] == 2
        assert record.hardware["gpu"]["cuda"] == "12.8"
    first_end = min(each["end"] for each in on_gpu)
    assert all(found[name]["start"] < first_end for name in ("c1", "c2")), "cells that need no GPU go on meanwhile"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None


def test_waiting_for_a_gpu_is_no_part_of_a_cell(machine: Install, tmp_path: Path, tiny: Path, cache: Path) -> None:
    machine(*two()[:1])
    plugin = telling(tmp_path / "telling.py", {"net": '"torch"'}, nap=0.0)
    common = {"task": "tiny", "plugin": [tiny, plugin], "quiet": True, "device": "cuda"}
    run(model="net", results=tmp_path / "warm", **common)  # type: ignore[arg-type]
    other = GpuLeases(visible(), 1, cache / "gpus").lease(1, threading.Event(), lambda: None)
    start = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        with other:
            waiting = pool.submit(run, model="net", results=tmp_path / "r", timeout=4, **common)  # type: ignore[arg-type]
            time.sleep(6)
            assert not waiting.done()
        assert waiting.result().status.item() == "ok", "nor does its clock run"
    record = read_record(next(Results(tmp_path / "r").record_paths()))
    assert record.timings.wall < time.monotonic() - start - 5


def test_a_gpu_that_others_use_is_told_in_the_record(machine: Install, tmp_path: Path, tiny: Path) -> None:
    machine(*two(used=4 * GB, running=[(4242, 3 * GB)])[:1])
    plugin = telling(tmp_path / "telling.py", {"near": '"torch"', "far": '"scikit-learn"'}, nap=0.0)
    options = {"model": ["near", "far"], "results": tmp_path / "r", "share_gpus": True, "device": "cuda"}
    run(task="tiny", plugin=[tiny, plugin], quiet=True, **options)  # type: ignore[arg-type]
    records = {record.model: record for record in map(read_record, Results(tmp_path / "r").record_paths())}
    assert {name: [note[:15] for note in record.notes[1:]] for name, record in records.items()} == {
        "near": ["another program"],
        "far": [],
    }


def test_tf32_is_a_setting_of_its_own_record(machine: Install, tmp_path: Path, tiny: Path) -> None:
    machine(*two())
    plugin = telling(tmp_path / "telling.py", {"fine": '"torch"', "plain": '"scikit-learn"'}, nap=0.0)
    common = {"task": "tiny", "plugin": [tiny, plugin], "quiet": True, "device": "cuda", "results": tmp_path / "r"}
    for tf32 in (None, True, False, True):
        run(model=["fine", "plain"], tf32=tf32, **common)  # type: ignore[arg-type]
    records = [read_record(path) for path in Results(tmp_path / "r").record_paths()]
    assert sorted(str(record.settings) for record in records if record.model == "fine") == [
        "{'tf32': False}", "{'tf32': True}", "{}",
    ]  # fmt: skip
    assert [record.settings for record in records if record.model == "plain"] == [{}], "it computes on no GPU"
    assert len({record.fit_key for record in records}) == 4
