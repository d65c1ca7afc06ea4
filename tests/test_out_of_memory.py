"""What runs out of memory: status oom with the memory at death, once a single row does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from zoobench.benchmarks import gpu_state, run
from zoobench.benchmarks.record import Record
from zoobench.benchmarks.store import Results, read_record
from zoobench.benchmarks.tiny import tiny_encoder
from zoobench.zoo.core import MODELS

from .test_own_images import KEYS, scans
from .test_own_tasks import write

torch = pytest.importorskip("torch")

FULL = '''
from zoobench.zoo.core import ModelCard, model

ERRORS = {
    "cuda": lambda torch: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": lambda torch: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "host": lambda torch: MemoryError("Unable to allocate 2.00 TiB"),
    "cublas": lambda torch: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


def full(network, error):
    """Have a network say that no row fits, and print how many it was given."""
    import torch

    def forward(self, **named):
        print("given", len(next(iter(named.values()))), flush=True)
        raise ERRORS[error](torch)

    network.forward = forward


def card(name, modality, default):
    return ModelCard(
        name=name, title="t", description="d", modality=modality, framework="torch", citation="c", default=default
    )
'''
TEXT = """

@model(card("text-{error}", "text", {default}))
def text_{error}(config, context):
    from zoobench.zoo.finetune import FineTuned
    from zoobench.zoo.networks.transformer import TextClassifier

    full(TextClassifier, "{error}")
    return FineTuned(config, context)
"""
IMAGE = """

@model(card("image-{error}", "image", {default}))
def image_{error}(config, context):
    from zoobench.zoo.images import ImageClassifier
    from zoobench.zoo.networks.viewed import Viewed
    from zoobench.zoo.pooled import pooled_classifier

    full(Viewed, "{error}")
    return pooled_classifier(config, context)
"""


def entries(template: str, default: Mapping[str, Any], errors: tuple[str, ...]) -> str:
    return "".join(template.replace("{error}", each).replace("{default}", repr(dict(default))) for each in errors)


def records(results: Path) -> dict[str, tuple[Record, str]]:
    """Return each model's record and log."""
    paths = list(Results(results).record_paths())
    return {(record := read_record(path)).model: (record, log_of(path, record)) for path in paths}


def log_of(path: Path, record: Record) -> str:
    return (path.parent / record.attempt / "log.txt").read_text()


def given(log: str) -> list[int]:
    """Return how many rows the network was given each time."""
    return [int(rows) for rows in re.findall(r"given (\d+)", log)]


@pytest.mark.slow
def test_a_fine_tuning_of_which_no_row_fits(tmp_path: Path, tiny: Path) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    default = {**MODELS.get("minilm").card.default, "encoder": encoder, "batch_size": 8, "number_format": "fp32"}
    errors = ("cuda", "cpu", "host", "cublas")
    plugin = tmp_path / "full.py"
    plugin.write_text(FULL + entries(TEXT, default, errors))
    models = [f"text-{error}" for error in errors]
    frame = run(task="tiny", model=models, plugin=[tiny, plugin], results=tmp_path / "r", quiet=True, threads=1)
    assert list(frame.status) == ["oom"] * 4, list(frame.reason)
    for name, (record, log) in records(tmp_path / "r").items():
        assert record.reason.startswith("out of memory: ")
        assert re.search(r"; the cell had added \d+\.\d\d GB of main memory$", record.reason)
        assert record.memory is not None
        assert record.memory.added_gb > 0
        assert given(log) == ([8] if name == "text-cublas" else [8, 4, 2, 1]), f"{name}: halved down to one"


@pytest.mark.slow
def test_images_of_which_no_row_fits(tmp_path: Path) -> None:
    default = {
        **MODELS.get("resnet18").card.default,
        "weights": "none",
        "size": 64,
        "batch_size": 8,
        "number_format": "fp32",
    }
    default |= {"memory_layout": "contiguous", "balance": "none", "loss": "plain"}
    plugin = tmp_path / "full.py"
    plugin.write_text(FULL + entries(IMAGE, default, ("cuda", "host")))
    task = write(tmp_path, scans(tmp_path), KEYS)
    models = ["image-cuda", "image-host"]
    frame = run(task=str(task), model=models, plugin=plugin, results=tmp_path / "r", quiet=True, threads=1)
    assert list(frame.status) == ["oom", "oom"], list(frame.reason)
    for record, log in records(tmp_path / "r").values():
        assert "of main memory" in record.reason
        assert given(log) == [7, 3, 1]  # 42 rows in even batches of 8 at most


class Cuda:
    """Two GPUs, as torch tells of them once it has computed there."""

    begun = True

    @staticmethod
    def is_initialized() -> bool:
        return Cuda.begun

    @staticmethod
    def device_count() -> int:
        return 2

    @staticmethod
    def max_memory_reserved(device: int) -> int:
        return (3 + device) * 10**9

    @staticmethod
    def mem_get_info() -> tuple[int, int]:
        return 10**9, 80 * 10**9


def test_a_gpus_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    backends = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)), cudnn=SimpleNamespace(allow_tf32=True)
    )
    modules = {"torch": SimpleNamespace(cuda=Cuda, backends=backends)}
    monkeypatch.setattr(gpu_state, "sys", SimpleNamespace(modules=modules))
    assert gpu_state.peak_gb() == 7
    assert gpu_state.full() == "79.0 of the GPU's 80.0 GB were in use"
    assert gpu_state.precision() == {"tf32_matmul": False, "tf32_convolution": True}
    gpu_state.set_tf32(None)
    assert gpu_state.precision()["tf32_convolution"]
    gpu_state.set_tf32(wanted=True)
    assert gpu_state.precision() == {"tf32_matmul": True, "tf32_convolution": True}
    monkeypatch.setattr(Cuda, "begun", False)
    assert (gpu_state.peak_gb(), gpu_state.full(), gpu_state.precision()) == (None, "", {})


@pytest.mark.parametrize("hidden", [True, False])
def test_tensorflows_memory_is_told_where_it_computes_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, *, hidden: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1" if hidden else "GPU-1")
    asked: list[bool] = []
    config = SimpleNamespace(
        list_physical_devices=lambda kind: asked.append(True) or [kind],
        list_logical_devices=lambda kind: [kind],
        experimental=SimpleNamespace(
            get_memory_info=lambda name: {"GPU:0": {"peak": 2 * 10**9}}[name],
            tensor_float_32_execution_enabled=lambda: True,
        ),
    )
    keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "tensorflow"))
    modules = {"tensorflow": SimpleNamespace(config=config), "keras": keras}
    monkeypatch.setattr(gpu_state, "sys", SimpleNamespace(modules=modules))
    assert gpu_state.peak_gb() == (None if hidden else 2)
    assert gpu_state.full() == ("" if hidden else "2.0 GB of the GPU were in use")
    assert gpu_state.precision() == ({} if hidden else {"tf32_matmul": True, "tf32_convolution": True})
    assert bool(asked) != hidden, "asking tensorflow would begin CUDA"


def test_what_was_raised_from_a_full_memory_is_one() -> None:
    def wrapped(cause: Exception) -> Exception:
        try:
            raise ValueError("the batch failed") from cause
        except ValueError as error:
            return error

    assert gpu_state.ran_out(wrapped(torch.OutOfMemoryError("CUDA out of memory")))
    assert not gpu_state.ran_out(wrapped(KeyError("x")))
    assert not gpu_state.ran_out(ValueError("out of memory"))
