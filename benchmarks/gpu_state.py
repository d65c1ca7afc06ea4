"""What a cell's process knows of its GPUs, whatever framework it computes with: memory, and the format of products."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from ..zoo.memory import out_of_memory

GB = 1e9
_CUBLAS = "CUBLAS_STATUS_ALLOC_FAILED"
"""What a GPU that is full to the brim says when a library wants its workspace: a RuntimeError that names no memory."""


def ran_out(error: BaseException) -> bool:
    """Return whether an exception, or the one that it was raised from, says that memory did not suffice.

    >>> ran_out(MemoryError()), ran_out(ValueError("1"))
    (True, False)
    """
    seen: BaseException | None = error
    while seen is not None:
        if out_of_memory(seen) or (isinstance(seen, RuntimeError) and _CUBLAS in str(seen)):
            return True
        seen = seen.__cause__
    return False


def peak_gb() -> float | None:
    """Return the most memory that the frameworks' allocators held of this process's GPUs; None where none was used.

    Read from the allocators, which miss no moment and are right in a container and on a slice, where the driver
    names no process.
    """
    torch, tensorflow = _torch(), _tensorflow()
    found = []
    if torch is not None:
        found.append(sum(map(torch.cuda.max_memory_reserved, range(torch.cuda.device_count()))))
    if tensorflow is not None:
        names = [f"GPU:{place}" for place in range(len(tensorflow.config.list_logical_devices("GPU")))]
        found.append(sum(tensorflow.config.experimental.get_memory_info(name)["peak"] for name in names))
    return sum(found) / GB if found else None


def full() -> str:
    """Return how full the GPU is, in words; "" where none is used or it cannot be asked any more."""
    with contextlib.suppress(Exception):  # a GPU may answer nothing after an error
        torch, tensorflow = _torch(), _tensorflow()
        if torch is not None:
            free, total = torch.cuda.mem_get_info()
            return f"{(total - free) / GB:.1f} of the GPU's {total / GB:.1f} GB were in use"
        if tensorflow is not None:
            held = tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
            return f"{held / GB:.1f} GB of the GPU were in use"
    return ""


def set_tf32(wanted: bool | None) -> None:
    """Have the imported frameworks compute products of float32 in TF32, or not; None leaves them as they come."""
    if wanted is None:
        return
    if (torch := sys.modules.get("torch")) is not None:
        torch.backends.cuda.matmul.allow_tf32 = wanted
        torch.backends.cudnn.allow_tf32 = wanted
    if (tensorflow := sys.modules.get("tensorflow")) is not None:
        tensorflow.config.experimental.enable_tensor_float_32_execution(wanted)


def precision() -> dict[str, bool]:
    """Return whether float32 products were computed in TF32, by kind; nothing where no GPU was used."""
    if (tensorflow := _tensorflow()) is not None:
        enabled = bool(tensorflow.config.experimental.tensor_float_32_execution_enabled())
        return {"tf32_matmul": enabled, "tf32_convolution": enabled}
    if (torch := _torch()) is not None:
        kinds = {"tf32_matmul": torch.backends.cuda.matmul, "tf32_convolution": torch.backends.cudnn}
        return {name: bool(kind.allow_tf32) for name, kind in kinds.items()}
    return {}


def _torch() -> Any:
    """Return torch if it has computed on a GPU here."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _tensorflow() -> Any:
    """Return tensorflow if it has a GPU here and is what Keras computes with: asking others would begin one."""
    keras, tensorflow = sys.modules.get("keras"), sys.modules.get("tensorflow")
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        return None
    if keras is None or tensorflow is None or keras.backend.backend() != "tensorflow":
        return None
    return tensorflow if tensorflow.config.list_physical_devices("GPU") else None
