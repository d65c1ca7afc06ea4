"""Tensorflow and torch in one process, whichever comes first."""

from __future__ import annotations

import sys


def without_triton_beside_tensorflow() -> None:
    """Hide triton from torch in a process that has loaded tensorflow and not yet triton.

    Both bring an LLVM; where triton's comes second, it ends the process. Torch's compiler, which every optimiser of
    torch loads, does without on a CPU. Importing triton before tensorflow would cost every Keras process 0.4 s.
    """
    if "tensorflow" in sys.modules and "triton" not in sys.modules:
        sys.modules["triton"] = None  # pyright: ignore[reportArgumentType] - Python's own way to say "not here"
